"""Where the measured spectra of the tests are published, and a folder of them from what you downloaded.

    python tests/get_data.py                      # where each set is published, and what is missing
    python tests/get_data.py DOWNLOADS FOLDER     # put the files among the downloads into FOLDER

Nothing is downloaded. Files are known by their content, whatever they are called and whether they stand in an archive
(.zip, .tar.gz) or beside it; line ends may be those of any system. Tests read the folder that the variable
`DRT_ENGINE_DATA` names, and are skipped without it.
"""

import argparse
import hashlib
import os
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class DataSet:
    """A folder of files, where it is published, and the digest of each file."""

    folder: str
    title: str
    url: str
    licence: str
    files: dict[str, str]


DATA_SETS = (
    DataSet(
        "zhang2020",
        "Zhang et al., Nat. Commun. 11 (2020) 1706: impedance of lithium-ion coin cells over their life",
        "https://zenodo.org/records/3633835",
        "licence: see the record",
        {
            "EIS_state_III_25C07.txt": "135ebc88e1c4a8e6",
            "EIS_state_III_25C08.txt": "65ee4800d5dfa4a3",
            "EIS_state_III_35C02.txt": "67a7fe3c62ebbb7e",
            "EIS_state_II_25C07.txt": "cc6d7dff147ab699",
            "EIS_state_II_25C08.txt": "ec485d1446e93dde",
            "EIS_state_II_35C02.txt": "c8fc6a4eed0c3ca7",
            "EIS_state_IV_25C07.txt": "adf9e00c34fc2b8d",
            "EIS_state_IV_25C08.txt": "20cdb29807e4721d",
            "EIS_state_IV_35C02.txt": "06ba54c4d16f62e1",
            "EIS_state_IX_25C07.txt": "1f869a4c539b44bb",
            "EIS_state_IX_25C08.txt": "05e5102ee97f620b",
            "EIS_state_IX_35C02.txt": "3edacc7d3c5a2cab",
            "EIS_state_I_25C07.txt": "25a248a46b89fbbf",
            "EIS_state_I_25C08.txt": "1877d492c4d4e001",
            "EIS_state_I_35C02.txt": "5a642d983ea1b076",
            "EIS_state_VIII_25C07.txt": "c73065276eb6efb2",
            "EIS_state_VIII_25C08.txt": "c072f2c5e15f3e3a",
            "EIS_state_VII_25C07.txt": "622e9ee57c1688ed",
            "EIS_state_VII_25C08.txt": "ad71b55a4bf298d7",
            "EIS_state_VI_25C07.txt": "0842d6ee7351a04c",
            "EIS_state_VI_25C08.txt": "a9077a913d3eec8d",
            "EIS_state_V_25C07.txt": "d22d37a130675d06",
            "EIS_state_V_25C08.txt": "4cc2ecfbab88b2f2",
            "EIS_state_V_35C02.txt": "2975f385db7dca28",
            "capacity35C02.txt": "71fde3bd058fc4b0",
            "ref.txt": "e7f9314806760aa4",
        },
    ),
    DataSet(
        "solid_state",
        "tutorials of hybrid-drt (folder tutorials/data): a solid-state cell and a sulphide electrolyte",
        "https://github.com/jdhuang-csm/hybrid-drt",
        "BSD 3-Clause",
        {
            "EISGALV_EISTest3.DTA": "8419f2f703346557",
            "PEIS_LPSCl_IonBlocking_-25C.mpr": "2328f09ca840ae8b",
            "PEIS_LPSCl_IonBlocking_-25C.txt": "1b3025dca5e3a25b",
            "PEIS_LPSCl_IonBlocking_-25C_RelaxIS.txt": "a25787fb0dc79338",
            "PEIS_SSB.mpr": "56a6a694f49b82f1",
            "sample_info.txt": "bc88bab18959508c",
        },
    ),
    DataSet(
        "instruments",
        "examples of impedance.py (folder data): one file of each instrument",
        "https://github.com/ECSHackWeek/impedance.py",
        "MIT",
        {
            "Circuit1_EIS_1.z": "00c920ac9224ddee",
            "Circuit1_EIS_2.z": "aefc7bfa3c892535",
            "Circuit2_EIS_1.z": "2bb61593f88bc5cf",
            "Circuit2_EIS_2.z": "351507e00a4d322e",
            "Circuit3_EIS_1.z": "3324a5ce6e9abb35",
            "Circuit3_EIS_2.z": "93731fc0606c3038",
            "exampleData.csv": "7a6185b5e95e7457",
            "exampleDataAutolab.txt": "0d40dacf05575001",
            "exampleDataBioLogic.mpt": "cfe550c6693ca5cf",
            "exampleDataBioLogic_MissingFreq.mpt": "f83527796fd3faa2",
            "exampleDataCHInstruments.txt": "43e8f27cb7728f65",
            "exampleDataGamry.DTA": "037350b3237bbe24",
            "exampleDataGamryABORT.DTA": "8c267dd1c0a31fa7",
            "exampleDataParstat.txt": "6876a634bcdee5af",
            "exampleDataPowersuite.txt": "c1657de4d48eb975",
            "exampleDataVersaStudio.par": "1c509184b387e4a7",
            "exampleDataZPlot.z": "8d84dd55a6806b07",
            "exampleDataZPlot_noComments.z": "ac8cd2cd6182ff42",
        },
    ),
    DataSet(
        "drttools",
        "pyDRTtools (folder EIS data): lithium-ion and synthetic spectra in three columns",
        "https://github.com/ciuccislab/pyDRTtools",
        "MIT",
        {
            "LIB_data.txt": "fa8923ff725ce7ed",
            "LIB_data_2.txt": "663c51183017eedf",
            "data_1.csv": "095996798354df17",
            "negami_data.txt": "c3a68b1b2b922927",
            "zarc_data.txt": "84c729751f95c509",
        },
    ),
    DataSet(
        "electrolyte",
        "EISFitpython (folder EIS_Data/Example-3-4): a ceramic electrolyte at seven temperatures",
        "https://github.com/Sheyigold/EISFitpython",
        "MIT",
        {
            "s04147-140deg.txt": "511030c1afd0b7b1",
            "s04147-150deg.txt": "89c86bad0f490ac3",
            "s04147-160deg.txt": "8044906887ead130",
            "s04147-170deg.txt": "3c01ba4933efffd0",
            "s04147-180deg.txt": "3851847168a38297",
            "s04147-190deg.txt": "d4c9a15335d86e4b",
            "s04147-200deg.txt": "dd92635041cebe0a",
        },
    ),
    DataSet(
        "autoecm",
        "AutoECM (folder data): simulated spectra of nine circuits with their parameters",
        "https://github.com/BatteryDEV/AutoECM",
        "CC BY 4.0",
        {
            "spectra.csv": "0d4ad888e360d7a9",
        },
    ),
)


def digest(content: bytes) -> str:
    """Return what tells a file from others, whatever its line ends are."""
    return hashlib.sha256(content.replace(b"\r\n", b"\n")).hexdigest()[:16]


def contents(downloads: Path) -> Iterator[bytes]:
    """Yield every file below a folder, and every file of the archives there."""
    for path in sorted(path for path in downloads.rglob("*") if path.is_file()):
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                yield from (archive.read(member) for member in archive.infolist() if not member.is_dir())
        elif tarfile.is_tarfile(path):
            with tarfile.open(path) as archive:
                for member in archive:
                    if (file := archive.extractfile(member)) is not None:
                        yield file.read()
        else:
            yield path.read_bytes()


def put(downloads: Path, folder: Path) -> int:
    """Write the files of the sets that are among the downloads into a folder, and return how many.

    Files that are there already are left as they are.
    """
    wanted = {mark: Path(one.folder, name) for one in DATA_SETS for name, mark in one.files.items()}
    done = 0
    for content in contents(downloads):
        place = wanted.get(digest(content))
        if place is not None and not (folder / place).exists():
            (folder / place).parent.mkdir(parents=True, exist_ok=True)
            (folder / place).write_bytes(content)
            done += 1
    return done


def missing(folder: Path | None) -> dict[str, list[str]]:
    """Names of the files of each set that are not in a folder."""
    return {
        one.folder: [name for name in one.files if folder is None or not (folder / one.folder / name).is_file()]
        for one in DATA_SETS
    }


def report(folder: Path | None) -> str:
    """Say where each set is published and which of its files are missing."""
    lines, absent = [], missing(folder)
    for one in DATA_SETS:
        gone = absent[one.folder]
        some = "" if len(gone) in (0, len(one.files)) else f": {', '.join(gone[:5])}{', ...' if len(gone) > 5 else ''}"
        state = f"{len(gone)} of {len(one.files)} files missing{some}" if gone else "complete"
        lines.append(f"{one.folder}: {state}\n    {one.title}\n    {one.url} ({one.licence})")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Do what the first lines of this file say; 1 if a file is missing in the end."""
    parser = argparse.ArgumentParser(description="Where the measured spectra of the tests are, and a folder of them.")
    parser.add_argument("downloads", nargs="?", type=Path, help="folder of what you downloaded")
    parser.add_argument("folder", nargs="?", type=Path, help="where the files are put; DRT_ENGINE_DATA if not given")
    given = parser.parse_args(arguments)
    named = os.environ.get("DRT_ENGINE_DATA")
    folder = given.folder or (Path(named) if named else None)
    if given.downloads is not None:
        if not given.downloads.is_dir():
            parser.error(f"{given.downloads} is no folder")
        if folder is None:
            parser.error("say where to put the files: name a FOLDER, or set DRT_ENGINE_DATA")
        print(f"{put(given.downloads, folder)} files put into {folder}")
    print(report(folder))
    return int(any(missing(folder).values()))


if __name__ == "__main__":
    sys.exit(main())
