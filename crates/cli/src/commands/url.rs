//! `larder url`

use crate::args::UrlArgs;
use crate::context::CommandContext;
use crate::failure::Result;
use crate::output::CommandOutput;
use crate::output::document::ObjectEntry;

pub(super) fn run(args: &UrlArgs, context: &CommandContext, output: &mut CommandOutput) -> Result<()> {
    let path = context.named(&args.path)?.output;
    let session = context.open(output.console())?;
    let url = session.storage.make_url(&path, &args.command_hash, &args.content_hash)?;
    output.line(&url);
    output.entry(ObjectEntry {
        path: path.key_text().to_owned(),
        url,
        command_hash: args.command_hash.to_string(),
        content_hash: args.content_hash.to_string(),
        bytes: None,
        last_modified: None,
        recorded: None,
    });
    Ok(())
}
