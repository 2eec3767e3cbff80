//! The configuration files of larder: larder.toml, the user's config, named remotes.
