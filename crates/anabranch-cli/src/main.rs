//! The `anabranch` command: parse, dispatch, exit. What each command does stands in `commands/`.

mod cli;
mod exit;
mod terminal;
mod signals;
mod lookup;
mod config_file;
mod waterfall;
mod commands;

use std::process::ExitCode;

use clap::Parser;

use cli::Command;
use terminal::{Tag, Terminal};

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    let terminal = Terminal::find(cli.color);
    let ended = match cli.command {
        Command::Serve(args) => commands::serve::run(&args, &terminal),
        Command::Check(args) => commands::check::run(&args, &terminal),
        Command::Plan(args) => commands::plan::run(&args, &terminal),
        Command::Try(args) => commands::try_::run(&args, &terminal),
        Command::Mock(args) => commands::mock::run(&args, &terminal),
        Command::Demo(args) => commands::demo::run(&args, &terminal),
        Command::Purge(args) => commands::purge::run(&args, &terminal),
        Command::Fetch(args) => commands::fetch::run(&args, &terminal),
        Command::Completions(args) => commands::completions::run(&args),
    };
    let exit = ended.unwrap_or_else(|failure| {
        if let Some(message) = failure.message() {
            terminal.tagged(Tag::Error, message.to_string());
        }
        failure.exit()
    });
    exit.into()
}
