"""From the cloud's answers to registry domains, and to sentences that say what was missed."""
