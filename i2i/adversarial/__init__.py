"""Adversarial objectives: what each player minimises."""
