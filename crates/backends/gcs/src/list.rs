//! Listing objects, a page at a time.

use std::collections::VecDeque;
use std::sync::Arc;

use futures::stream::{self, StreamExt as _};
use google_cloud_gax::options::RequestOptionsBuilder as _;
use google_cloud_storage::model::ListObjectsResponse;
use larder_backend::{Error, ErrorKind, Key, ListOptions, Listed, ObjectStream, Operation, Prefix, Result};

use crate::backend::Remote;
use crate::get;

/// How many objects a page has: the most that the server gives.
const PAGE: i32 = 1000;

/// Lists while the caller reads.
pub(crate) fn list(remote: Arc<Remote>, prefix: &Prefix, options: &ListOptions) -> ObjectStream {
    let pages = Pages {
        prefix: format!("{}{}", remote.root(), prefix.as_str()),
        remote,
        delimiter: options.delimiter,
        items: VecDeque::new(),
        next: Some(String::new()),
    };
    stream::unfold(Some(pages), |pages| async move {
        let mut pages = pages?;
        loop {
            if let Some(item) = pages.items.pop_front() {
                return Some((Ok(item), Some(pages)));
            }
            let token = pages.next.take()?;
            match pages.fetch(&token).await.and_then(|page| pages.take(page, &token)) {
                Ok(()) => {}
                Err(error) => return Some((Err(error), None)),
            }
        }
    })
    .boxed()
}

struct Pages {
    remote: Arc<Remote>,
    prefix: String,
    delimiter: bool,
    items: VecDeque<Listed>,
    /// The token of the next page, which is empty for the first.
    next: Option<String>,
}

impl Pages {
    async fn fetch(&self, token: &str) -> Result<ListObjectsResponse> {
        let remote = &*self.remote;
        let connection = remote.connection().await?;
        let location = remote.to_string();
        let target = remote.target(Operation::List, &location);
        remote
            .patience
            .retrying(|| async {
                let request = connection
                    .control
                    .list_objects()
                    .set_parent(remote.bucket())
                    .set_prefix(&self.prefix)
                    .set_delimiter(if self.delimiter { "/" } else { "" })
                    .set_page_size(PAGE)
                    .set_page_token(token)
                    .with_attempt_timeout(remote.patience.attempt_timeout());
                remote.watched(target, request.send()).await
            })
            .await
    }

    /// Takes a page. A listing that breaks off in silence would make something older the newest.
    fn take(&mut self, page: ListObjectsResponse, token: &str) -> Result<()> {
        let root = self.remote.root();
        let below = |name: &str| name.strip_prefix(root).map(str::to_owned);
        // What can be no key of ours (a "folder", a name with control characters) was put there by somebody else.
        let objects = page.objects.iter().filter_map(|object| {
            let key = Key::parse(below(&object.name)?).ok()?;
            Some(Listed::Object(get::meta_of(&key, object)))
        });
        let prefixes = page
            .prefixes
            .iter()
            .filter_map(|prefix| Some(Listed::Prefix(Prefix::parse(below(prefix)?).ok()?)));
        self.items.extend(objects.chain(prefixes));
        if page.next_page_token.is_empty() {
            return Ok(());
        }
        if page.next_page_token == token {
            let error = Error::new(ErrorKind::Unsupported, Operation::List, self.remote.to_string());
            return Err(error.with_source("the server says that there is more, and not where it begins"));
        }
        self.next = Some(page.next_page_token);
        Ok(())
    }
}
