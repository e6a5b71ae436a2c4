"""The gallery: samples as static pages."""
