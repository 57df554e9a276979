"""Translation learnt without pairs: CycleGAN, CUT and FastCUT, the task and the sources for them."""
