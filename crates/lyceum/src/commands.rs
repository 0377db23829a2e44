//! `lyceum user …` and `lyceum token …`: by the running server if there is one, else on the data itself.

use std::io::{BufRead, IsTerminal, Write};

use anyhow::{Context, bail};
use lyceum_account::names;
use lyceum_model::{AccountChange, Batch, Expect, MatrixError};
use lyceum_server::{
    Server,
    accounts::{
        interactive_auth::Passed,
        passwords::{self, EndSessions},
        registration::{self, NewAccount},
    },
    administration::provisioning,
};
use serde::{Deserialize, Serialize};

use crate::{Place, TokenCommand, UserCommand, configuration, control, serve};

/// What is to be done.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) enum Order {
    /// Make a user.
    Add {
        name: String,
        is_admin: bool,
        password: String,
    },
    /// Set a password.
    Passwd { name: String, password: String },
    /// Make somebody an admin, or no longer.
    Admin { name: String, is_admin: bool },
    /// Make a token for provisioning.
    Provision { name: String },
    /// End the tokens for provisioning.
    RevokeProvisioning { name: String },
}

/// Carries a command out.
pub(crate) fn run(command: UserCommand, place: &Place) -> anyhow::Result<()> {
    let order = match command {
        UserCommand::Add {
            name,
            admin,
            password,
        } => Order::Add {
            name,
            is_admin: admin,
            password: given_or_asked(password)?,
        },
        UserCommand::Passwd { name, password } => Order::Passwd {
            name,
            password: given_or_asked(password)?,
        },
        UserCommand::Admin { name, revoke } => Order::Admin {
            name,
            is_admin: !revoke,
        },
    };
    give(&order, place)
}

/// Carries a command about tokens out.
pub(crate) fn run_token(command: TokenCommand, place: &Place) -> anyhow::Result<()> {
    let order = match command {
        TokenCommand::Provision { user } => Order::Provision { name: user },
        TokenCommand::Revoke { user } => Order::RevokeProvisioning { name: user },
    };
    give(&order, place)
}

/// Gives an order to the running server, or carries it out here.
fn give(order: &Order, place: &Place) -> anyhow::Result<()> {
    let mut config = configuration::load(place)?;
    if let Some(said) = control::order(&config.data_dir, order)? {
        println!("{said}");
        return Ok(());
    }
    config.listeners.clear();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let said = runtime.block_on(async {
        serve::prepare_data_dir(&config.data_dir)?;
        let server = serve::start(config).await?;
        let said = carry_out(&server, order.clone()).await;
        server.stop().await;
        said
    })?;
    println!("{said}");
    Ok(())
}

/// Does it; says what was done.
pub(crate) async fn carry_out(server: &Server, order: Order) -> anyhow::Result<String> {
    match order {
        Order::Add {
            name,
            is_admin,
            password,
        } => {
            let user_id = registration::free_user_id(server, Some(&name), None)
                .await
                .map_err(|error| anyhow::anyhow!(MatrixError::from(error).message))?;
            let account = NewAccount {
                password: Some(password),
                is_admin,
                ..NewAccount::new(user_id.clone(), "admin")
            };
            registration::register(server, account, None, &Passed::default())
                .await
                .map_err(|error| anyhow::anyhow!(MatrixError::from(error).message))?;
            let what = if is_admin { "admin" } else { "user" };
            Ok(format!("The {what} {user_id} was made."))
        }
        Order::Passwd { name, password } => {
            let user = existing(server, &name).await?;
            let everywhere = EndSessions::AllBut(None);
            passwords::change(
                server,
                &user.user_id,
                password,
                everywhere,
                &Passed::default(),
            )
            .await
            .map_err(|error| anyhow::anyhow!(MatrixError::from(error).message))?;
            Ok(format!(
                "{} has a new password, and all its sessions have ended.",
                user.user_id
            ))
        }
        Order::Admin { name, is_admin } => {
            let mut user = existing(server, &name).await?;
            let user_id = user.user_id.clone();
            user.is_admin = is_admin;
            let mut batch = Batch::new();
            batch.expect(Expect::UserExists(user_id.clone()));
            batch.push(AccountChange::PutUser(user));
            server.commit(batch).await?;
            let now = if is_admin {
                "is an admin now"
            } else {
                "is no admin any more"
            };
            Ok(format!("{user_id} {now}."))
        }
        Order::Provision { name } => {
            let (user_id, token) = provisioning::make_token(server, &name).await?;
            tracing::info!(%user_id, "a token for provisioning was made");
            Ok(token)
        }
        Order::RevokeProvisioning { name } => {
            let user = existing(server, &name).await?;
            let count = provisioning::revoke_tokens(server, &user.user_id).await?;
            tracing::info!(user_id = %user.user_id, count, "tokens for provisioning were revoked");
            Ok(match count {
                1 => "1 token for provisioning has ended.".to_owned(),
                _ => format!("{count} tokens for provisioning have ended."),
            })
        }
    }
}

async fn existing(server: &Server, name: &str) -> anyhow::Result<lyceum_model::User> {
    let user_id = names::known_user_id(name, &server.config.server_name)
        .with_context(|| format!("{name} is not a user name"))?;
    match server.store.user(&user_id).await? {
        Some(user) if !user.is_deactivated => Ok(user),
        Some(_) => bail!("{user_id} was deactivated"),
        None => bail!("there is no user {user_id}"),
    }
}

/// A password: as given, or one line from standard input.
fn given_or_asked(password: Option<String>) -> anyhow::Result<String> {
    if let Some(password) = password {
        return Ok(password);
    }
    if std::io::stdin().is_terminal() {
        eprint!("Password: ");
        std::io::stderr().flush()?;
    }
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    let password = line.trim_end_matches(['\r', '\n']).to_owned();
    if password.is_empty() {
        bail!("no password was given");
    }
    Ok(password)
}
