"""Config files: one `get_config()` each, setting the fields that matter; the rest are the defaults of jamflow_jax.train.config."""
