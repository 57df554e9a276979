"""High resolution from labels: pix2pixHD (Wang et al. 2018) and SPADE (Park et al. 2019) as parts of i2i."""
