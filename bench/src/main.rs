//! The load driver: measures homeservers side by side over the public HTTP API, in one run on one
//! machine, and verifies what it measures.
//!
//! It knows nothing of Lyceum but its command line and configuration keys. Load goes to loopback
//! addresses only, bounded in count and time. Every figure means: that many requests, each answered
//! with success, each effect found afterwards.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use serde_json::json;

mod arguments;
mod clock;
mod connection;
mod floor;
mod load;
mod phases;
mod png;
mod process;
mod server;
mod sheet;
mod world;

use arguments::Options;
use phases::Phase;
use server::Server;
use sheet::{Better, Sheet};
use world::World;

#[tokio::main]
async fn main() -> ExitCode {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = if arguments
        .first()
        .is_some_and(|first| first == floor::SERVE_COMMAND)
    {
        let file = arguments.pop().map(PathBuf::from).unwrap_or_default();
        floor::serve(&file).await.map(|()| true)
    } else {
        match arguments::parse(arguments) {
            Ok(Some(options)) => tokio::select! {
                outcome = run(&options) => outcome,
                // The servers that were started end with the future that is dropped here.
                _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
            },
            Ok(None) => {
                say(arguments::HELP);
                Ok(true)
            }
            Err(error) => Err(error),
        }
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            say(&format!("bench: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// The whole run; whether the first server passed every phase.
async fn run(options: &Options) -> Result<bool> {
    let temporary = tempfile::Builder::new().prefix("lyceum-bench-").tempdir()?;
    let folder = options
        .work_dir
        .clone()
        .unwrap_or_else(|| temporary.path().to_owned());
    std::fs::create_dir_all(&folder)?;
    let tag = format!("{:x}", clock::unix_seconds());
    let names = options
        .servers
        .iter()
        .map(|(name, _)| name.clone())
        .collect();
    let mut sheet = Sheet::new(names);
    let mut worlds = Vec::new();
    for (name, origin) in &options.servers {
        say(&format!("start: {name}"));
        let server_folder = folder.join(format!("{name}-{tag}"));
        std::fs::create_dir_all(&server_folder)?;
        let (server, duration) = Server::start(name.clone(), origin.clone(), server_folder).await?;
        if let Some(duration) = duration {
            let id = ("start.ms", "start on an empty folder, to first answer");
            sheet.put(
                name,
                id,
                ("ms", Better::Lower),
                duration.as_secs_f64() * 1000.0,
            );
        }
        if let Some(pid) = server.pid {
            let id = ("memory.start.mib", "resident at start");
            sheet.put(name, id, ("MiB", Better::Lower), process::memory_mib(pid).0);
        }
        worlds.push(World::new(server, tag.clone(), options.budget));
    }
    for phase in &options.phases {
        if *phase == Phase::Floor {
            say("floor");
            phases::measure_floor(&folder, options.budget, &mut sheet).await?;
            continue;
        }
        for world in &mut worlds {
            let name = world.server.name.clone();
            let start = clock::now();
            if let Err(error) = phase.run(world, options, &mut sheet).await {
                say(&format!("  failed: {error:#}"));
                sheet.fail(&name, format!("{}: {error:#}", phase.name()));
            }
            let memory = world
                .server
                .pid
                .map_or(0.0, |pid| process::memory_mib(pid).0);
            let seconds = start.elapsed().as_secs_f64();
            say(&format!(
                "{}: {name}, {seconds:.1} s, then {memory:.0} MiB",
                phase.name()
            ));
        }
    }
    for world in &worlds {
        sheet.describe(
            &world.server.name,
            json!({ "durability": world.server.durability() }),
        );
    }
    say("");
    say(&sheet.table());
    if let Some(file) = &options.json {
        write_json(file, &sheet, options)?;
    }
    let ours = worlds
        .first()
        .map(|world| world.server.name.as_str())
        .unwrap_or_default();
    Ok(sheet.failures(ours) == 0)
}

fn write_json(file: &Path, sheet: &Sheet, options: &Options) -> Result<()> {
    let run = json!({
        "unix_time_s": clock::unix_seconds(),
        "cores": std::thread::available_parallelism().map_or(0, usize::from),
        "kernel": std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim(),
        "budget_s": options.budget.as_secs_f64(),
        "phases": options.phases.iter().map(|phase| phase.name()).collect::<Vec<_>>(),
    });
    let text = serde_json::to_string_pretty(&sheet.json(&run))?;
    std::fs::write(file, text + "\n").with_context(|| format!("write {}", file.display()))
}

/// A line for whoever watches.
fn say(text: &str) {
    // Nobody may be watching.
    let _ = writeln!(std::io::stdout(), "{text}");
}
