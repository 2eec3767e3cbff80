//! Options for hashing.

use larder_tree::{LeftOutReport, TreeOptions};

use crate::digest::Scheme;
use crate::weasel;

/// How to hash an output: under which scheme, and how to read its tree.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct HashOptions {
    /// The scheme. The default is BLAKE3.
    pub scheme: Scheme,
    /// How to read the tree. The scheme determines the order of its entries, whatever [`TreeOptions::order`] is.
    pub tree: TreeOptions,
    /// Called with each file and directory that a `.larderignore` leaves out of a dependency. None by default.
    pub left_out: Option<LeftOutReport>,
}

impl HashOptions {
    /// Creates options for `scheme`, with the defaults for everything else.
    pub fn new(scheme: Scheme) -> Self {
        Self { scheme, ..Self::default() }
    }

    /// Sets how to read the tree.
    #[must_use]
    pub fn with_tree(mut self, tree: TreeOptions) -> Self {
        self.tree = tree;
        self
    }

    /// Returns how to read the tree, in the order that the scheme needs.
    pub fn tree_options(&self) -> TreeOptions {
        let order = if self.scheme.has_manifests() { Ord::cmp } else { weasel::compare_names };
        self.tree.clone().with_order(order)
    }
}
