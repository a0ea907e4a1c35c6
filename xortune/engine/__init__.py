"""Trainers: what a training is. The only package that imports torch."""
