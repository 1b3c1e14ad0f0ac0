"""`penstock artifacts lineage` and `stale`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.documents import INT, Shell, constant, pipeline, write
from tests.unit.cli.conftest import Penstock


def model_of(penstock: Penstock, run: str) -> str:
    return str(penstock("artifacts", "get", f"{run}:add.model", "--json").objects[0]["id"])


class TestText:
    def test_a_tree_says_what_it_came_from_and_what_came_of_it(
        self, penstock: Penstock, adding: Path
    ) -> None:
        penstock("run", adding, "-p", "x=3", "--name", "monday")

        lines = penstock("artifacts", "lineage", "monday:use.copy").lines

        assert lines[0].split()[0] == "copy"
        assert lines[1].endswith("/copy")
        came = lines[lines.index("came from") + 1 : lines.index("went into")]
        shape = [re.sub(r"\b(?=[0-9a-f]*\d)[0-9a-f]{8,12}\b|\d{4}-.*", "…", line) for line in came]
        assert shape == [
            "└─ use of run monday (…), pipeline adding, …",
            "   │  with total=5",
            "   │  code comp-use … in alpine",
            "   └─ model: … system.Model",
            "      └─ add of run monday (…), pipeline adding, …",
            "            with two=2, x=3",
            "            code comp-add … in alpine",
        ]
        assert lines[-1] == "  nothing"

    def test_a_cached_task_leads_to_the_run_that_did_the_work(self, penstock: Penstock, adding: Path) -> None:
        penstock("run", adding, "-p", "x=3", "--name", "monday")
        penstock("run", adding, "-p", "x=3", "--name", "tuesday", "--no-cache")
        penstock("run", adding, "-p", "x=3", "--name", "wednesday")

        up = penstock("artifacts", "lineage", "wednesday:use.copy", "--up").out
        down = penstock("artifacts", "lineage", "tuesday:add.model", "--down").out

        assert "use of run tuesday" in up and "wednesday" not in up
        assert "from the cache" in next(line for line in down.splitlines() if "of run wednesday" in line)

    def test_one_direction_alone(self, penstock: Penstock, adding: Path) -> None:
        penstock("run", adding, "-p", "x=3")

        assert "went into" not in penstock("artifacts", "lineage", "latest:use.copy", "--up").lines
        assert "came from" not in penstock("artifacts", "lineage", "latest:use.copy", "--down").lines

    def test_it_goes_as_far_as_it_is_asked_to(self, penstock: Penstock, adding: Path) -> None:
        penstock("run", adding, "-p", "x=3")

        near = penstock("artifacts", "lineage", "latest:use.copy", "--depth", "1").out
        few = penstock("artifacts", "lineage", "latest:use.copy", "--up", "--limit", "1").lines

        assert "use of run" in near and "add of run" not in near
        assert few[-1] == "… and more: --limit 10 shows it"

    def test_an_artifact_goes_by_its_place(self, penstock: Penstock, adding: Path) -> None:
        penstock("run", adding, "-p", "x=3")
        found = penstock("artifacts", "get", "latest:add.model", "--json").objects[0]

        for name in (found["id"], found["uri"], found["uri"].removeprefix("file://")):
            assert penstock("artifacts", "lineage", name, "--json").objects[0]["artifact"] == found

    def test_what_was_handed_from_run_to_run_by_its_place_is_one_artifact(
        self, penstock: Penstock, adding: Path, importing: Path
    ) -> None:
        penstock("run", adding, "-p", "x=3", "--name", "making")
        place = penstock("artifacts", "get", "making:add.model", "--path").lines[0]
        assert penstock("run", importing, "-p", f"data={place}", "--name", "using").code == 0

        down = penstock("artifacts", "lineage", "making:add.model", "--down").out
        up = penstock("artifacts", "lineage", "using:read.copy", "--up").out

        assert "read of run using" in down and "use of run making" in down
        assert "add of run making" in up

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (["nope"], "there is no artifact 'nope'"),
            (["s3://bucket/nope"], "no artifact is recorded at 's3://bucket/nope'"),
            (["/no/such/file"], "no artifact is recorded at '/no/such/file'"),
            (["latest:add.model", "--up", "--down"], "exclude each other"),
            (["latest:add.model", "-o", "svg"], "--output is text, mermaid or json, not 'svg'"),
            (["latest:add.model", "--depth", "0"], "'--depth'"),
            (["latest:add.model", "--limit", "0"], "'--limit'"),
        ],
    )
    def test_bad_input(self, penstock: Penstock, adding: Path, arguments: list[str], words: str) -> None:
        penstock("run", adding, "-p", "x=3")

        assert words in penstock("artifacts", "lineage", *arguments).complaint


class TestJson:
    def test_it_has_runs_tasks_code_data_and_parameters(self, penstock: Penstock, adding: Path) -> None:
        penstock("run", adding, "-p", "x=3", "--name", "monday", "--experiment", "tuning")
        model = model_of(penstock, "monday")

        (found,) = penstock("artifacts", "lineage", "monday:use.copy", "-o", "json").objects

        use, add = found["upstream"]["executions"]
        assert (use["task"], use["distance"], use["cached"]) == ("use", 1, False)
        assert (use["parameters"], use["inputs"]) == ({"total": 5}, {"model": [model]})
        assert (add["distance"], add["parameters"], add["outputs"]) == (
            2,
            {"x": 3, "two": 2},
            {"model": [model]},
        )
        assert add["run"] == {**use["run"], "name": "monday", "experiment": "tuning", "state": "SUCCEEDED"}
        assert add["pipeline"]["name"] == "adding" and len(add["pipeline"]["sha256"]) == 64
        assert add["code"]["image"] == "alpine" and add["code"]["sha256"] != use["code"]["sha256"]
        assert {one["name"] for one in found["upstream"]["artifacts"]} == {"copy", "model"}
        assert found["downstream"]["executions"] == []
        assert found["artifact"]["id"] == found["upstream"]["artifacts"][0]["id"]

    def test_the_same_code_has_the_same_digest_in_another_version_of_the_pipeline(
        self, penstock: Penstock, tmp_path: Path
    ) -> None:
        def digests(name: str, *more: Shell) -> dict[str, Any]:
            make = Shell("make", 'echo 1 >"$out"', {"x": (INT, constant(1))}, made={"out": "system.Dataset"})
            penstock("run", write(pipeline("p", make, *more), tmp_path / f"{name}.yaml"), "--name", name)
            (found,) = penstock("artifacts", "lineage", f"{name}:make.out", "--up", "--json").objects
            return found["upstream"]["executions"][0]

        one, two = digests("one"), digests("two", Shell("other"))
        assert one["pipeline"]["sha256"] != two["pipeline"]["sha256"]
        assert one["code"] == two["code"]


class TestMermaid:
    def test_a_flowchart_has_a_box_for_each_run_and_quotes_what_people_wrote(
        self, penstock: Penstock, adding: Path
    ) -> None:
        penstock("run", adding, "-p", "x=3", "--name", 'a "run" <b>; end')
        penstock("run", adding, "-p", "x=3", "--name", "again")

        lines = penstock("artifacts", "lineage", "again:add.model", "-o", "mermaid").lines

        assert lines[0] == "flowchart LR"
        assert sum(line.startswith("  subgraph") for line in lines) == 2
        assert any('["run a &quot;run&quot; &lt;b>; end (' in line for line in lines)
        assert any(line.endswith('"]') and "use<br/>(cached)" in line for line in lines)
        assert any(" -.-> " in line for line in lines)
        defined = {found[1] for line in lines if (found := re.match(r" +(\w+)\[", line))}
        used = {
            end for line in lines if " --> " in line or "-.->" in line for end in re.findall(r"\w+", line)
        }
        assert used <= defined


class TestStale:
    def test_the_newest_of_each_kind_is_out_of_date(self, penstock: Penstock, adding: Path) -> None:
        penstock("run", adding, "-p", "x=3", "--name", "monday")
        penstock("run", adding, "-p", "x=3", "--name", "tuesday")

        header, use = penstock("artifacts", "stale", "monday:add.model").lines

        assert header.split() == ["RUN", "NAME", "PIPELINE", "TASK", "TIME", "CACHED", "ARTIFACTS"]
        assert use.split()[1:4] == ["tuesday", "adding", "use"] and "cached" in use and "copy " in use
        (found,) = penstock("artifacts", "stale", "monday:add.model", "--json").objects
        assert [one["run"]["name"] for one in found["executions"]] == ["tuesday"]

    def test_what_was_superseded_is_not(self, penstock: Penstock, adding: Path) -> None:
        penstock("run", adding, "-p", "x=3", "--name", "monday")
        penstock("run", adding, "-p", "x=4", "--name", "tuesday")

        assert penstock("artifacts", "stale", "monday:add.model").out.startswith(
            "nothing that is up to date came"
        )
