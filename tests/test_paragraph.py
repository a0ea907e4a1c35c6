"""A certificate as a paragraph, for a paper or a model card."""

import pytest
import reported

import xortune as xt

WHOLE = """\
A search (xortune, sampler unknown) tried 5 configurations in 40 trainings, each configuration \
under several random seeds. In the search, the configuration with activation = Tanh, loss = \
MSELoss, optimizer = Adam, lr = 0.04, hidden_dim = 3, epochs = 30, zero_grad = true (key \
df3f2fa0a436edc3) succeeded for 7 of 8 seeds; the search selected it by such counts, so they tend \
to overestimate its rate. The 3 finalists of the search were each trained under 100 fresh seeds \
that the search had not used. This one was selected because it has the highest lower bound of its \
own success rate. It succeeded for 100 of the 100 fresh seeds 1688815422 to 1688815521 (100.0 %). \
Its success rate is therefore at least 94.66 %. The lower bounds of all 3 finalists (one-sided \
Clopper-Pearson) and those of all other attempts to certify this run hold together with \
confidence 95 %; this is attempt 2.
"""


def test_it_says_what_was_searched_selected_and_proven(tmp_path):
    run = reported.certified(tmp_path / "run")
    assert xt.export(run, format="paragraph") == WHOLE
    second = run.certificate.finalists[1]
    told = xt.export(run, format="paragraph", key=second.key)
    assert "Among them this one is number 2 in the order of the lower bounds of their" in told
    assert f"It succeeded for {second.k} of the 100 fresh seeds" in told


def test_the_rule_is_said_and_a_key_must_be_a_finalists(tmp_path):
    run = reported.certified(tmp_path / "run").noted(success="accuracy >= 0.9", sampler="tpe")
    told = xt.export(run, format="paragraph")
    assert told.startswith("A search (xortune, sampler tpe) tried")
    assert told.endswith(" A training succeeds if accuracy >= 0.9.\n")
    with pytest.raises(xt.InputError, match="is not a finalist"):
        xt.export(run, format="paragraph", key="0000")


def test_without_a_certificate_there_is_none(tmp_path):
    run = reported.searched(tmp_path / "run")
    with pytest.raises(xt.InputError, match="fix: make one: `xortune certify"):
        xt.export(run, format="paragraph")
