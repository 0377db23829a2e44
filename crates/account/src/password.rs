//! How passwords are kept and which ones are good enough.
//!
//! A password is kept as an argon2id hash in PHC form, with its own salt and parameters, so that
//! parameters can change later. Hashing and checking take tens of milliseconds of CPU by design.

use argon2::{
    Algorithm, Argon2, Block, Params, Version,
    password_hash::phc::{Output, ParamsString, PasswordHash, Salt},
};
use lyceum_model::MatrixError;
use serde::{Deserialize, Serialize};

/// The longest password, in bytes; longer ones would only cost time.
pub const PASSWORD_BYTES_MAX: usize = 512;

/// What hashing a password costs (RFC 9106).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PasswordParameters {
    /// Memory, in KiB.
    pub memory_kib: u32,
    /// Passes over the memory.
    pub iterations: u32,
    /// Lanes.
    pub parallelism: u32,
}

impl Default for PasswordParameters {
    fn default() -> Self {
        Self {
            memory_kib: 19_456,
            iterations: 2,
            parallelism: 1,
        }
    }
}

impl PasswordParameters {
    /// Whether argon2 can work with them.
    pub fn check(&self) -> Result<(), PasswordError> {
        self.argon2().map(|_| ())
    }

    fn argon2(&self) -> Result<Argon2<'static>, PasswordError> {
        let params = Params::new(self.memory_kib, self.iterations, self.parallelism, None)
            .map_err(|_| PasswordError::Parameters)?;
        Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
    }
}

/// Why a password is refused, or could not be hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// It has too few characters.
    #[error("This password is too short: it must have at least {length_min} characters")]
    TooShort {
        /// How many it must have.
        length_min: usize,
    },
    /// It has too many bytes.
    #[error("This password is longer than {PASSWORD_BYTES_MAX} bytes")]
    TooLong,
    /// The configured parameters are outside argon2's bounds.
    #[error("The parameters for password hashes are not valid")]
    Parameters,
    /// There was no memory, or argon2 failed otherwise.
    #[error("The password could not be hashed")]
    Failed,
}

impl From<PasswordError> for MatrixError {
    fn from(error: PasswordError) -> Self {
        let message = error.to_string();
        match error {
            PasswordError::TooShort { .. } => Self::new(400, "M_PASSWORD_TOO_SHORT", message),
            PasswordError::TooLong => Self::weak_password(message),
            PasswordError::Parameters | PasswordError::Failed => Self::internal(message),
        }
    }
}

/// Which passwords are good enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PasswordPolicy {
    /// The fewest characters.
    pub length_min: usize,
}

impl Default for PasswordPolicy {
    fn default() -> Self {
        Self { length_min: 8 }
    }
}

impl PasswordPolicy {
    /// Whether a new password may be used.
    pub fn check(&self, password: &str) -> Result<(), PasswordError> {
        if password.len() > PASSWORD_BYTES_MAX {
            return Err(PasswordError::TooLong);
        }
        // An empty password is never good enough.
        let length_min = self.length_min.max(1);
        if password.chars().count() < length_min {
            return Err(PasswordError::TooShort { length_min });
        }
        Ok(())
    }
}

/// The hash to keep of a password, as a PHC string.
pub fn hash(
    password: &str,
    salt: &[u8; 16],
    parameters: &PasswordParameters,
) -> Result<String, PasswordError> {
    if password.len() > PASSWORD_BYTES_MAX {
        return Err(PasswordError::TooLong);
    }
    let argon2 = parameters.argon2()?;
    let output = compute(&argon2, password, salt).ok_or(PasswordError::Failed)?;
    let params = ParamsString::try_from(argon2.params()).map_err(|_| PasswordError::Failed)?;
    let hash = PasswordHash {
        algorithm: Algorithm::Argon2id.ident(),
        version: Some(Version::V0x13.into()),
        params,
        salt: Some(Salt::new(salt).map_err(|_| PasswordError::Failed)?),
        hash: Some(output),
    };
    Ok(hash.to_string())
}

/// Whether this is the password. A damaged hash fits none.
pub fn verify(password: &str, phc: &str) -> bool {
    if password.len() > PASSWORD_BYTES_MAX {
        return false;
    }
    let Ok(hash) = PasswordHash::new(phc) else {
        return false;
    };
    let Some(argon2) = argon2_of(&hash) else {
        return false;
    };
    let (Some(salt), Some(expected)) = (&hash.salt, &hash.hash) else {
        return false;
    };
    // Outputs are compared in constant time.
    compute(&argon2, password, salt).as_ref() == Some(expected)
}

/// The function with which a hash was made.
fn argon2_of(hash: &PasswordHash) -> Option<Argon2<'static>> {
    let algorithm = Algorithm::try_from(hash.algorithm.as_str()).ok()?;
    let version = match hash.version {
        Some(version) => Version::try_from(version).ok()?,
        None => Version::default(),
    };
    Some(Argon2::new(
        algorithm,
        version,
        Params::try_from(hash).ok()?,
    ))
}

fn compute(argon2: &Argon2<'_>, password: &str, salt: &[u8]) -> Option<Output> {
    let params = argon2.params();
    let blocks = params.block_count();
    let memory = vec![Block::new(); blocks];
    let mut buffer = [0; Output::MAX_LENGTH];
    let length = params.output_len().unwrap_or(Params::DEFAULT_OUTPUT_LEN);
    let output = buffer.get_mut(..length)?;
    argon2
        .hash_password_into_with_memory(password.as_bytes(), salt, output, memory)
        .ok()?;
    Output::new(output).ok()
}

/// Takes as long as [`verify`], for users who do not exist or have no password: so that nobody
/// learns from the time an answer takes who exists.
pub fn spend(password: &str, parameters: &PasswordParameters) {
    let _unused = hash(password, &[0; 16], parameters);
}

/// Whether the hash was made with other parameters and should be made anew at the next login.
pub fn is_outdated(phc: &str, parameters: &PasswordParameters) -> bool {
    let Ok(hash) = PasswordHash::new(phc) else {
        return true;
    };
    let Ok(made_with) = Params::try_from(&hash) else {
        return true;
    };
    hash.algorithm.as_str() != "argon2id"
        || made_with.m_cost() != parameters.memory_kib
        || made_with.t_cost() != parameters.iterations
        || made_with.p_cost() != parameters.parallelism
}
