//! The phases of a run: each measures one thing on one server and verifies what it measured.
//!
//! Phases are independent of each other, apart from accounts and rooms that they share through
//! the `World`; any selection of them can be run.

use anyhow::{Result, bail};

use crate::arguments::Options;
use crate::sheet::Sheet;
use crate::world::World;

mod accounts;
mod course;
mod deliver;
mod floor;
mod join;
mod media;
mod paginate;
mod restart;
mod send;
mod sync;

pub(crate) use floor::measure as measure_floor;

/// What can be asked for by `--phases`, in the order of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    Register,
    Login,
    Create,
    Floor,
    Send,
    Deliver,
    Sync,
    Idle,
    Join,
    Paginate,
    Media,
    Course,
    Memory,
    Disk,
    Restart,
}

impl Phase {
    pub(crate) const ALL: [Phase; 15] = [
        Phase::Register,
        Phase::Login,
        Phase::Create,
        Phase::Floor,
        Phase::Send,
        Phase::Deliver,
        Phase::Sync,
        Phase::Idle,
        Phase::Join,
        Phase::Paginate,
        Phase::Media,
        Phase::Course,
        Phase::Memory,
        Phase::Disk,
        Phase::Restart,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Phase::Floor => "floor",
            Phase::Register => "register",
            Phase::Login => "login",
            Phase::Create => "create",
            Phase::Send => "send",
            Phase::Disk => "disk",
            Phase::Deliver => "deliver",
            Phase::Sync => "sync",
            Phase::Idle => "idle",
            Phase::Join => "join",
            Phase::Paginate => "paginate",
            Phase::Media => "media",
            Phase::Course => "course",
            Phase::Memory => "memory",
            Phase::Restart => "restart",
        }
    }

    pub(crate) fn named(name: &str) -> Result<Self> {
        match Self::ALL.into_iter().find(|phase| phase.name() == name) {
            Some(phase) => Ok(phase),
            None => bail!("no phase is called {name}"),
        }
    }

    /// Measures this phase on one server.
    pub(crate) async fn run(
        self,
        world: &mut World,
        options: &Options,
        sheet: &mut Sheet,
    ) -> Result<()> {
        match self {
            // The floor is the machine's, not a server's; the driver measures it once.
            Phase::Floor => Ok(()),
            Phase::Register => accounts::register(world, sheet).await,
            Phase::Login => accounts::login(world, sheet).await,
            Phase::Create => accounts::create(world, sheet).await,
            Phase::Send => send::rates(world, sheet).await,
            Phase::Disk => send::disk(world, sheet).await,
            Phase::Deliver => deliver::run(world, sheet).await,
            Phase::Sync => sync::initial(world, sheet).await,
            Phase::Idle => sync::idle(world, sheet).await,
            Phase::Join => join::run(world, options.members, sheet).await,
            Phase::Paginate => paginate::run(world, sheet).await,
            Phase::Media => media::run(world, sheet).await,
            Phase::Course => course::run(world, &options.courses, sheet).await,
            Phase::Memory => restart::memory(world, sheet),
            Phase::Restart => restart::run(world, sheet).await,
        }
    }
}
