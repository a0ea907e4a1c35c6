"""What everything speaks of: points, seeds, outcomes, configs, tasks, success, errors, formats."""
