"""What a person or CI runs: publish, deploy, judge, cut over, go back, retire, restart, look."""
