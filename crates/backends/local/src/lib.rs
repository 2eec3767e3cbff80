//! The larder backend for a directory: a local disk, a mounted share.
