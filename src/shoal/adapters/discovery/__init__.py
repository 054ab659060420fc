"""Where members come from: a static list, DNS, Kubernetes. Decides nothing about them."""
