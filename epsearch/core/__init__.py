"""What every part uses: errors, messages, numbers, files, the listener. Imports nothing of the rest."""
