"""What DeepStream's nvinfer needs to run a detector: configurations, labels, and a check of the parser it calls."""
