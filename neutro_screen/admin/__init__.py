"""What an operator uses: doctor, notification, starter files."""
