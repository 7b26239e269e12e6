"""From HU to what the model sees: window settings and the lungs."""
