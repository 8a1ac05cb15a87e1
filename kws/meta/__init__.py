"""Networks that learn new words from a few clips: meta-training, pruning that spares it, and adaptation."""
