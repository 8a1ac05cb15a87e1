"""What makes a network one person's, without retraining."""
