"""What a laboratory means by the names, codes, units and specimens it sends."""
