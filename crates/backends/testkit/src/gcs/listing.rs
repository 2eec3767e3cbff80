//! Listings, page by page.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use crate::gcs::failure::GcsFailure;
use crate::gcs::object::StoredObject;

/// The maximum size of a page, as at Google.
const PAGE_LIMIT: usize = 1000;

/// The parameters of a listing.
#[derive(Clone, Debug, Default)]
pub(super) struct Selection {
    pub(super) prefix: String,
    pub(super) delimiter: String,
    /// Excludes names before it.
    pub(super) start: String,
    /// Excludes this name and all later ones, if it is not empty.
    pub(super) end: String,
    /// The continuation token of an earlier page.
    pub(super) token: String,
    /// The maximum number of objects and prefixes on a page, or 0 for the server's default.
    pub(super) page_size: usize,
    /// Whether an object whose name ends with the delimiter is also listed as itself.
    pub(super) with_trailing_delimiter: bool,
}

/// A page of a listing.
#[derive(Debug, Default)]
pub(super) struct ObjectPage {
    pub(super) objects: Vec<Arc<StoredObject>>,
    pub(super) prefixes: Vec<String>,
    /// The token of the next page. It is empty on the last page.
    pub(super) next_token: String,
}

impl ObjectPage {
    fn len(&self) -> usize {
        self.objects.len() + self.prefixes.len()
    }
}

impl Selection {
    /// Returns the prefix that replaces an object whose name has the delimiter.
    fn rolled_up<'a>(&self, name: &'a str) -> Option<&'a str> {
        if self.delimiter.is_empty() {
            return None;
        }
        let at = name[self.prefix.len()..].find(&self.delimiter)?;
        Some(&name[..self.prefix.len() + at + self.delimiter.len()])
    }

    pub(super) fn page(&self, all: &BTreeMap<String, Arc<StoredObject>>) -> Result<ObjectPage, GcsFailure> {
        let last = decode_token(&self.token)?;
        let limit = if self.page_size == 0 { PAGE_LIMIT } else { self.page_size.min(PAGE_LIMIT) };
        let first = self.prefix.as_str().max(&self.start);
        let mut page = ObjectPage::default();
        let mut end_of_page = None;
        for (name, object) in all.range::<str, _>((Bound::Included(first), Bound::Unbounded)) {
            if !name.starts_with(&self.prefix) {
                break;
            }
            if !self.end.is_empty() && *name >= self.end {
                break;
            }
            let rolled_up = self.rolled_up(name);
            let entry = rolled_up.unwrap_or(name);
            if last.as_deref().is_some_and(|last| entry <= last) {
                continue;
            }
            let is_in_last = rolled_up.is_some() && page.prefixes.last().map(String::as_str) == rolled_up;
            if !is_in_last {
                if page.len() >= limit {
                    page.next_token = encode_token(end_of_page.unwrap_or_default());
                    break;
                }
                end_of_page = Some(entry);
                if let Some(prefix) = rolled_up {
                    page.prefixes.push(prefix.to_owned());
                }
            }
            let is_itself = self.with_trailing_delimiter && rolled_up == Some(name);
            if rolled_up.is_none() || is_itself {
                page.objects.push(Arc::clone(object));
            }
        }
        Ok(page)
    }
}

/// Encodes the last object or prefix of the page. The next page starts after it, even if objects have changed.
fn encode_token(last: &str) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(last)
}

fn decode_token(token: &str) -> Result<Option<String>, GcsFailure> {
    if token.is_empty() {
        return Ok(None);
    }
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(token).ok();
    let name = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    name.map(Some).ok_or_else(|| GcsFailure::invalid("Invalid page token."))
}
