//! `larder url`

use crate::args::Url;
use crate::context::Context;
use crate::failure::Result;
use crate::output::Output;
use crate::output::document::Object;

pub(super) fn run(args: &Url, context: &Context, output: &mut Output) -> Result<()> {
    let path = context.named(&args.path)?.output;
    let session = context.open(output.console())?;
    let url = session.storage.make_url(&path, &args.command_hash, &args.content_hash)?;
    output.line(&url);
    output.entry(Object {
        path: path.key_text().to_owned(),
        url,
        command_hash: args.command_hash.to_string(),
        content_hash: args.content_hash.to_string(),
        bytes: None,
        last_modified: None,
    });
    Ok(())
}
