"""One head a task: from the pyramid's maps to named predictions, one pure `forward` each."""
