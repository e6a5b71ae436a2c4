"""The OmniGen network: configuration, layers, attention, token layout, arithmetic costs."""
