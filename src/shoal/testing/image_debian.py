"""The machine's own Debian packages as layers: a root file system that really runs.

Only what every user may read is taken, whoever asks, so that root and a plain user build the same
image, and no secret of the machine ends in one.
"""

import os
import re
import stat
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from shoal.testing.image_layout import LayerWriter, entry

_STATUS = Path("/var/lib/dpkg/status")
_INFO = Path("/var/lib/dpkg/info")

# A shell and the tools to look around with: the least that is worth starting a container of.
BASE = ("base-files", "bash", "coreutils", "dash", "libc-bin", "grep", "sed", "tar", "gzip")
# What images of real services are made of, first; anything else that is installed after it.
FILL = ("python3", "perl", "git", "gcc", "g++", "openjdk-17-jre-headless", "nodejs")
# What a machine keeps for itself: package sources, private keys, state.
_LEFT_OUT = ("/etc/apt/", "/etc/ssl/private", "/var/", "/root", "/home", "/boot", "/lib/modules")
# Debian's /usr merge: package lists name both spellings of these.
_MERGED = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_EMPTY_FOLDERS = {"proc": 0o555, "sys": 0o555, "dev": 0o755, "run": 0o755, "tmp": 0o1777}


@dataclass(frozen=True, slots=True)
class Package:
    """An installed package, by what the image builder asks of it."""

    name: str
    depends: tuple[tuple[str, ...], ...]  # alternatives, any of which will do
    size_bytes: int


@dataclass(slots=True)
class Packages:
    """The installed packages, and which names of virtual ones they provide."""

    by_name: dict[str, Package] = field(default_factory=dict)
    providers: dict[str, str] = field(default_factory=dict)

    @classmethod
    def installed(cls, status: Path | None = None) -> "Packages":
        """Read dpkg's status file; on a machine without dpkg there are none."""
        found = cls()
        status = _STATUS if status is None else status
        text = status.read_text(errors="replace") if status.exists() else ""
        for paragraph in text.split("\n\n"):
            fields = dict(
                line.split(": ", 1)
                for line in paragraph.splitlines()
                if re.match(r"[\w-]+: ", line)
            )
            if fields.get("Status", "").endswith(" installed"):
                found._add(fields)
        return found

    def _add(self, fields: dict[str, str]) -> None:
        name = fields["Package"]
        depends = f"{fields.get('Pre-Depends', '')},{fields.get('Depends', '')}"
        self.by_name[name] = Package(
            name,
            tuple(
                tuple(_bare(choice) for choice in clause.split("|"))
                for clause in depends.split(",")
                if clause.strip()
            ),
            int(fields.get("Installed-Size", "0")) * 1024,
        )
        for provided in fields.get("Provides", "").split(","):
            if provided.strip():
                self.providers.setdefault(_bare(provided), name)

    def closure(self, names: Sequence[str]) -> list[str]:
        """Return the named packages and all they depend on, dependencies first."""
        ordered: dict[str, None] = {}
        under_way: set[str] = set()

        def visit(name: str) -> None:
            package = self.by_name.get(name)
            if package is None or name in ordered or name in under_way:
                return
            under_way.add(name)  # packages may depend on each other in a ring
            for choices in package.depends:
                here = (c if c in self.by_name else self.providers.get(c) for c in choices)
                if (chosen := next((c for c in here if c), None)) is not None:
                    visit(chosen)
            ordered[name] = None

        for name in names:
            visit(name)
        return list(ordered)

    def by_size(self) -> list[str]:
        """Return all packages, the largest first."""
        return sorted(self.by_name, key=lambda name: (-self.by_name[name].size_bytes, name))


def _bare(dependency: str) -> str:
    """`libc6:any (>= 2.36)` without version and architecture."""
    return dependency.split("(")[0].strip().split(":")[0]


def package_files(name: str) -> list[str]:
    """Return the paths that a package installed, without what a machine keeps for itself."""
    lists = [_INFO / f"{name}.list", *sorted(_INFO.glob(f"{name}:*.list"))]
    found = next((path for path in lists if path.exists()), None)
    paths = found.read_text(errors="surrogateescape").splitlines() if found else []
    return [path for path in paths if path != "/." and not path.startswith(_LEFT_OUT)]


class RootFiles:
    """Copies the machine's files into layers, each once."""

    def __init__(self) -> None:
        self._done: set[str] = set()
        self._folders: set[str] = set()
        self._links: dict[tuple[int, int], str] = {}

    def next_layer(self) -> None:
        """Forget what cannot be referred to across layers: folders and hard links."""
        self._folders.clear()
        self._links.clear()

    def add_skeleton(self, layer: LayerWriter) -> None:
        """Add the folders that a runtime mounts on, and the links of a merged /usr."""
        for name, mode in _EMPTY_FOLDERS.items():
            layer.add(entry(name, mode=mode, kind=tarfile.DIRTYPE))
            self._done.add(f"/{name}")
        for name in _MERGED:
            path = Path("/", name)
            if path.is_symlink():
                info = entry(name, mode=0o777, kind=tarfile.SYMTYPE)
                info.linkname = os.readlink(path)  # noqa: PTH115 - as text, not normalised
                layer.add(info)
                self._done.add(f"/{name}")

    def add(self, layer: LayerWriter, path: str) -> None:
        """Add one file, unless it is in already, is gone, or is not for everyone to read."""
        parent, _, last = path.rpartition("/")
        # Through links such as /bin, but not through the last component, which may be one itself.
        real = f"{os.path.realpath(parent or '/').rstrip('/')}/{last}"
        if real in self._done:
            return
        try:
            status = os.lstat(real)
        except OSError:
            return  # left out at installation, such as documentation in container images
        if not _wanted(status):
            return
        self._done.add(real)
        self._add_parents(layer, real)
        info = entry(real, mode=stat.S_IMODE(status.st_mode))
        info.mtime = int(status.st_mtime)  # compiled Python files are checked against it
        if stat.S_ISDIR(status.st_mode):
            self._folders.add(real)
            info.type = tarfile.DIRTYPE
            layer.add(info)
        elif stat.S_ISLNK(status.st_mode):
            info.type = tarfile.SYMTYPE
            info.linkname = os.readlink(real)  # noqa: PTH115 - as text, not normalised
            layer.add(info)
        elif status.st_nlink > 1 and (status.st_dev, status.st_ino) in self._links:
            info.type = tarfile.LNKTYPE
            info.linkname = self._links[status.st_dev, status.st_ino]
            layer.add(info)
        else:
            self._links[status.st_dev, status.st_ino] = info.name
            info.size = status.st_size
            with open(real, "rb") as content:
                layer.add(info, content)

    def _add_parents(self, layer: LayerWriter, path: str) -> None:
        """Add the folders above `path`, once a layer: a layer must not change their modes."""
        for folder in reversed(Path(path).parents[:-1]):
            name = str(folder)
            if name not in self._folders:
                self._folders.add(name)
                mode = _EMPTY_FOLDERS.get(name[1:], stat.S_IMODE(folder.stat().st_mode))
                layer.add(entry(name, mode=mode, kind=tarfile.DIRTYPE))


def _wanted(status: os.stat_result) -> bool:
    kind = stat.S_IFMT(status.st_mode)
    if kind == stat.S_IFLNK:
        return True
    return kind in (stat.S_IFREG, stat.S_IFDIR) and bool(status.st_mode & stat.S_IROTH)
