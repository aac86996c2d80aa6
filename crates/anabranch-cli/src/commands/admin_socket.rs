//! The unix socket of `admin:`: made so that nobody but this user ever connects to it, and taken away at the end.

use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::UnixListener;

/// Connections that the kernel holds before they are accepted.
const BACKLOG: i32 = 16;

/// A socket that listens; its file goes when this is dropped.
pub(super) struct AdminSocket {
    path: PathBuf,
}

impl AdminSocket {
    /// Listens at this path. What a process left there that runs no more is removed.
    ///
    /// # Errors
    /// Somebody listens there, something else stands there, or the folder may not be written to.
    pub(super) fn listen(path: &Path) -> io::Result<(AdminSocket, UnixListener)> {
        make_room(path)?;
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.bind(&SockAddr::unix(path)?)?;
        let bound = AdminSocket { path: path.to_path_buf() };
        // Before it listens nobody can connect, whatever the file allows until then.
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
        socket.set_nonblocking(true)?;
        socket.listen(BACKLOG)?;
        let listener = UnixListener::from_std(socket.into())?;
        Ok((bound, listener))
    }
}

impl Drop for AdminSocket {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

fn make_room(path: &Path) -> io::Result<()> {
    let is_socket = match std::fs::symlink_metadata(path) {
        Ok(found) => found.file_type().is_socket(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !is_socket {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is a file that is no socket"));
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(io::Error::new(io::ErrorKind::AddrInUse, "another process listens there")),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path),
        Err(error) => Err(error),
    }
}
