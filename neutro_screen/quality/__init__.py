"""What laboratories sent, compared with what they used to send: measures, drift and timeliness."""
