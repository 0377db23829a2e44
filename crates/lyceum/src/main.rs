//! The binary: reads configuration and command line, chooses the storage engine, starts and stops
//! the server.

mod certificate;
mod commands;
mod configuration;
mod control;
mod drained;
mod landing;
mod listen;
mod metrics;
mod serve;

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};

/// The system's allocator keeps ten times what is in use after a load; this one gives it back
/// (docs/decisions/0005-allocator.md; how soon is said in .cargo/config.toml).
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// A Matrix homeserver in one binary.
#[derive(Parser)]
#[command(name = "lyceum", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start the server.
    Serve(Place),
    /// Show the configuration.
    Config {
        /// The default configuration, with every key described.
        #[arg(long)]
        defaults: bool,
        #[command(flatten)]
        place: Place,
    },
    /// Manage tokens for programs, whether the server runs or not.
    Token {
        #[command(subcommand)]
        command: TokenCommand,
        #[command(flatten)]
        place: Place,
    },
    /// Manage users, whether the server runs or not.
    User {
        #[command(subcommand)]
        command: UserCommand,
        #[command(flatten)]
        place: Place,
    },
}

/// Where the configuration and the data are.
#[derive(Args, Clone, Default)]
struct Place {
    /// The configuration file (TOML).
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The folder for all data.
    #[arg(long, global = true, value_name = "DIR")]
    data: Option<PathBuf>,
    /// The address to listen on, instead of those configured.
    #[arg(long, global = true, value_name = "ADDRESS")]
    listen: Option<String>,
    /// The server's name: the part after the colon of user ids.
    #[arg(long, global = true, value_name = "NAME")]
    server_name: Option<String>,
}

#[derive(Subcommand)]
enum TokenCommand {
    /// Make a token for a learning platform: it makes accounts and fills rooms, and nothing else.
    Provision {
        /// The user name of the account that acts with it, without @ and server name. It is made
        /// if it is not there.
        #[arg(long, default_value = "moodle.provisioning")]
        user: String,
    },
    /// End all tokens for provisioning of an account.
    Revoke {
        /// The user name.
        #[arg(long, default_value = "moodle.provisioning")]
        user: String,
    },
}

#[derive(Subcommand)]
enum UserCommand {
    /// Make a user.
    Add {
        /// The user name, without @ and server name.
        name: String,
        /// Make the user an admin.
        #[arg(long)]
        admin: bool,
        /// The password; asked for on standard input if it is not given.
        #[arg(long)]
        password: Option<String>,
    },
    /// Give a user a new password, and end all sessions.
    Passwd {
        /// The user name.
        name: String,
        /// The password; asked for on standard input if it is not given.
        #[arg(long)]
        password: Option<String>,
    },
    /// Make a user an admin.
    Admin {
        /// The user name.
        name: String,
        /// Take the right away instead.
        #[arg(long)]
        revoke: bool,
    },
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    // What is written is for the server's user only.
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
    let done = match cli.command {
        Command::Serve(place) => serve::run(&place),
        Command::Config { defaults: true, .. } => {
            print!("{}", configuration::DEFAULTS);
            Ok(())
        }
        Command::Config {
            defaults: false,
            place,
        } => configuration::print(&place),
        Command::User { command, place } => commands::run(command, &place),
        Command::Token { command, place } => commands::run_token(command, &place),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lyceum: {error:#}");
            ExitCode::FAILURE
        }
    }
}
