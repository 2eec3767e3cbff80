//! Listings that come in pages.

use std::collections::VecDeque;

use async_trait::async_trait;
use futures::stream::{self, StreamExt as _};
use larder_backend::{Error, ErrorKind, Listed, ObjectStream, Operation, Result};

/// A page of a listing.
#[derive(Debug, Default)]
pub struct ListingPage {
    /// Objects and common prefixes. May be empty although more pages follow.
    pub items: Vec<Listed>,
    /// Whether another page follows.
    pub is_truncated: bool,
    /// The server's token for the next page.
    pub next_token: Option<String>,
}

/// Requests the pages of one listing.
#[async_trait]
pub trait PageSource: Send + Sync + 'static {
    /// Requests a page, the first one without a token. Retries by itself.
    ///
    /// # Errors
    ///
    /// The remote refuses, or cannot be reached.
    async fn fetch(&self, token: Option<&str>) -> Result<ListingPage>;

    /// The URL of the remote, for messages.
    fn location(&self) -> String;
}

/// The state of a listing between two items.
struct PagedListing<S> {
    source: S,
    items: VecDeque<Listed>,
    next: NextPage,
}

enum NextPage {
    First,
    After(String),
    None,
}

/// Streams the items of all pages. A page is requested when the items of the one before have been taken.
///
/// The stream ends with [`ErrorKind::Unsupported`] if the server says that more pages follow but gives no new token. A
/// truncated listing could make an older object look like the newest.
pub fn list(source: impl PageSource) -> ObjectStream {
    let listing = PagedListing { source, items: VecDeque::new(), next: NextPage::First };
    stream::unfold(Some(listing), |listing| async move {
        let mut listing = listing?;
        loop {
            if let Some(item) = listing.items.pop_front() {
                return Some((Ok(item), Some(listing)));
            }
            match listing.turn().await {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => return Some((Err(error), None)),
            }
        }
    })
    .boxed()
}

impl<S: PageSource> PagedListing<S> {
    /// Requests the next page. Returns false after the last one.
    async fn turn(&mut self) -> Result<bool> {
        let token = match std::mem::replace(&mut self.next, NextPage::None) {
            NextPage::First => None,
            NextPage::After(token) => Some(token),
            NextPage::None => return Ok(false),
        };
        let page = self.source.fetch(token.as_deref()).await?;
        self.items.extend(page.items);
        if page.is_truncated {
            let next = page.next_token.filter(|next| Some(next) != token.as_ref());
            self.next = NextPage::After(next.ok_or_else(|| self.no_token())?);
        }
        Ok(true)
    }

    fn no_token(&self) -> Error {
        Error::new(ErrorKind::Unsupported, Operation::List, self.source.location())
            .with_source("the server says that more pages follow, but gives no token for the next one")
    }
}

#[cfg(test)]
mod tests {
    use futures::TryStreamExt as _;
    use larder_backend::Prefix;

    use super::*;

    /// Gives the tokens `1` to `last`, and then what `end` says.
    struct Counting {
        last: u32,
        end: fn(u32) -> (bool, Option<String>),
    }

    #[async_trait]
    impl PageSource for Counting {
        async fn fetch(&self, token: Option<&str>) -> Result<ListingPage> {
            let number: u32 = token.map_or(0, |token| token.parse().unwrap());
            let (is_truncated, next_token) =
                if number < self.last { (true, Some((number + 1).to_string())) } else { (self.end)(number) };
            // Every second page is empty.
            let item = Listed::Prefix(Prefix::parse(format!("p{number}/")).unwrap());
            let items = if number.is_multiple_of(2) { vec![item] } else { Vec::new() };
            Ok(ListingPage { items, is_truncated, next_token })
        }

        fn location(&self) -> String {
            "s3://bucket".to_owned()
        }
    }

    #[tokio::test]
    async fn all_pages_are_listed() {
        let source = Counting { last: 4, end: |_| (false, Some("ignored".to_owned())) };
        assert_eq!(list(source).try_collect::<Vec<_>>().await.unwrap().len(), 3);
    }

    #[tokio::test]
    async fn a_listing_that_breaks_off_is_an_error() {
        let no_token = Counting { last: 1, end: |_| (true, None) };
        let same_token = Counting { last: 1, end: |number| (true, Some(number.to_string())) };
        for source in [no_token, same_token] {
            let error = list(source).try_collect::<Vec<_>>().await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported);
        }
    }
}
