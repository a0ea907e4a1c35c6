"""A run shown where people already look: TensorBoard, MLflow, Weights & Biases."""
