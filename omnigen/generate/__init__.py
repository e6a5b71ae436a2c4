"""From a prompt to a picture: the sampler, the cache of the prompt's keys and values, and the pipeline around them."""
