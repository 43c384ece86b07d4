"""What may have caused an episode: drugs and other evidence (RULES.md section 5)."""
