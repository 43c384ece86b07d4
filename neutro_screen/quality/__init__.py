"""What laboratories sent, against what they used to send."""
