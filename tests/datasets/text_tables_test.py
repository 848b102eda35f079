"""Tables of texts in the forms that GLUE's files have, and of anybody else."""

import numpy as np
import pytest

from tfcaps import datasets
from tfcaps.errors import UsageError

BOM = "\ufeff"
# Excerpts in the official forms: header, columns, quotes, byte-order mark.
OFFICIAL = {
    "sst2": ("SST-2", "sentence\tlabel\n", ["fine film\t1\n", 'a "bad one\t0\n']),
    "cola": ("CoLA", "", ["gj04\t1\t\tThey left.\n", "gj04\t0\t*\tLeft they the.\n"]),
    "mrpc": (
        "MRPC",
        BOM + "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\n",
        ['1\t70\t71\tHe called "the witness", one\tOne, he said\n', "0\t7\t8\tNo.\tYes.\n"],
    ),
    "rte": (
        "RTE",
        "index\tsentence1\tsentence2\tlabel\n",
        ["0\tIt rains.\tIt is wet.\tentailment\n", "1\tA\tB\tnot_entailment\n"],
    ),
    "qnli": (
        "QNLI",
        "index\tquestion\tsentence\tlabel\n",
        ["0\tWho?\tHe did.\tentailment\n", "1\tWhen?\tHe did.\tnot_entailment\n"],
    ),
    "qqp": (
        "QQP",
        "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n",
        ["1\t2\t3\tHow?\tIn what way?\t1\n", "4\t5\t6\tHow?\tWhy?\t0\n"],
    ),
    "mnli": (
        "MNLI",
        "index\tgenre\tsentence1\tsentence2\tlabel1\tgold_label\n",
        ["0\tfiction\tA\tB\tneutral\tneutral\n", "1\tfiction\tC\tD\tneutral\tcontradiction\n"],
    ),
    "mnlimm": (
        "MNLI",
        "index\tgenre\tsentence1\tsentence2\tlabel1\tlabel2\tgold_label\n",
        ["0\tletter\tE\tF\tneutral\t-\tneutral\n", "1\tletter\tG\tH\t-\t-\tentailment\n"],
    ),
    "stsb": (
        "STS-B",
        "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\tscore\n",
        ["0\tm\tf\t2012\t1\ta\tb\tA plane.\tA bird.\t2.500\n", "1\tm\tf\t2\t2\ta\tb\tX\tX\t5\n"],
    ),
    "wnli": (
        "WNLI",
        "index\tsentence1\tsentence2\tlabel\n",
        ["0\tHe fell.\tSomebody fell.\t1\n", "1\tHe fell.\tShe fell.\t0\n"],
    ),
}
FIRST = {
    "sst2": (("fine film",), "positive", "accuracy"),
    "cola": (("They left.",), "acceptable", "matthews"),
    "mrpc": (('He called "the witness", one', "One, he said"), "equivalent", "f1"),
    "rte": (("It rains.", "It is wet."), "entailment", "accuracy"),
    "qnli": (("Who?", "He did."), "entailment", "accuracy"),
    "qqp": (("How?", "In what way?"), "duplicate", "f1"),
    "mnli": (("A", "B"), "neutral", "accuracy"),
    "mnlimm": (("E", "F"), "neutral", "accuracy"),
    "stsb": (("A plane.", "A bird."), 2.5, "spearman"),
    "wnli": (("He fell.", "Somebody fell."), "entailment", "accuracy"),
}


def write(folder, name, *, rows=None, header=None):
    """Writes a task's official files below a folder."""
    task, official_header, official_rows = OFFICIAL[name]
    path = folder / task
    path.mkdir(parents=True, exist_ok=True)
    text = (official_header if header is None else header) + "".join(rows or official_rows)
    (path / "train.tsv").write_text(text, encoding="utf-8")
    test = {"mnli": "dev_matched.tsv", "mnlimm": "dev_mismatched.tsv"}.get(name, "dev.tsv")
    (path / test).write_text(official_header + "".join(official_rows), encoding="utf-8")
    return path


def load(name, folder, **arguments):
    return datasets.load_texts(name, data_dir=folder, **{"validation_fraction": 0.0, **arguments})


def refused(name, folder=None, **arguments):
    with pytest.raises(UsageError) as caught:
        load(name, folder, **arguments)
    message = str(caught.value)
    assert "\n" not in message
    return message


class TestGlue:
    @pytest.mark.parametrize("name", OFFICIAL)
    def test_official_forms(self, tmp_path, name):
        write(tmp_path, name)
        data = load(name, tmp_path)
        texts, label, metric = FIRST[name]
        assert tuple(column[0] for column in data.train.texts) == texts
        assert len(data.train) == len(data.test) == 2
        found = data.train.labels[0]
        assert (found if data.is_regression else data.class_names[found]) == label
        assert data.metric == metric
        assert data.validation is None

    def test_names_and_folders(self, tmp_path):
        folder = write(tmp_path, "sst2")
        for name, place in (("SST-2", tmp_path), ("sst2", folder), ("SST2", str(folder))):
            assert len(load(name, place).train) == 2

    def test_all_that_there_are(self):
        assert set(datasets.GLUE) == set(OFFICIAL)

    def test_broken_rows_of_qqp_are_left_out_and_counted(self, tmp_path, capsys):
        write(tmp_path, "qqp", rows=[*OFFICIAL["qqp"][2], "7\t8\t9\tHow?\n", "one\n"])
        assert len(load("qqp", tmp_path).train) == 2
        assert "2 rows of" in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("name", "rows", "words"),
        [
            ("sst2", ["x\t1\n", "y\t2\n"], "one of 0, 1 as label. Received: '2' in line 3 of"),
            ("sst2", ["x\t1\n", "y\t1\n"], "at least two classes. Received"),
            ("sst2", ["x\t1\n", "y\n"], "2 columns. Received: 1 in line 3 of"),
            ("sst2", ["x\t1\n", "y\tz\t0\n"], "2 columns. Received: 3 in line 3 of"),
            ("sst2", ["\n"], "a table with rows"),
            ("sst2", ["x\t1\n", "y\t\n"], "a label in each row. Received: none in line 3 of"),
            ("cola", ["gj04\t1\t\tA\tB\n"], "4 columns. Received: 5 in line 1 of"),
            ("cola", ["gj04\t1\t\n"], "4 columns. Received: 3 in line 1 of"),
            (
                *("mnli", ["0\tf\tA\tB\tneutral\tneutral\n", "1\tf\tA\tB\tx\tentailment\n"]),
                "too. Received: 'contradiction' in line 3 of",
            ),
            ("stsb", ["0\tm\tf\t2\t1\ta\tb\tA\tB\t1\n"] * 2, "two different labels. Received"),
            ("stsb", ["0\tm\tf\t2\t1\ta\tb\tA\tB\tx\n"], "from 0 to 5 as labels. Received: 'x'"),
            ("stsb", ["0\tm\tf\t2\t1\ta\tb\tA\tB\t5.1\n"], "from 0 to 5 as labels"),
            ("stsb", ["0\tm\tf\t2\t1\ta\tb\tA\tB\tnan\n"], "from 0 to 5 as labels"),
        ],
    )
    def test_wrong_rows(self, tmp_path, name, rows, words):
        write(tmp_path, name, rows=rows)
        assert words in refused(name, tmp_path)

    def test_missing_column(self, tmp_path):
        write(tmp_path, "sst2", header="text\tlabel\n")
        message = refused("sst2", tmp_path)
        assert "Expected a column 'sentence'" in message
        assert "whose columns are text, label" in message

    def test_missing_files(self, tmp_path):
        assert "Received: no --data_dir" in refused("mrpc")
        assert "neither train.tsv nor a folder MRPC" in refused("mrpc", tmp_path)
        folder = write(tmp_path, "mrpc")
        (folder / "dev.tsv").unlink()
        assert "dev.tsv, which doesn't exist" in refused("mrpc", tmp_path)

    def test_unknown_task(self):
        assert refused("imdb").startswith("Expected one of sst2, cola, mrpc, rte, qnli, qqp, mnli")

    def test_not_utf8(self, tmp_path):
        path = write(tmp_path, "sst2") / "train.tsv"
        path.write_bytes(b"sentence\tlabel\n\xff\xfe\t1\n")
        assert "which isn't in UTF-8" in refused("sst2", tmp_path)


class TestOwnTables:
    def table(self, tmp_path, text, name="my.csv"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return f"{name[-3:]}:{path}"

    def test_quotes_and_classes(self, tmp_path):
        name = self.table(tmp_path, 'label,text\ncat,"a, ""b"""\ndog,c\n' + "dog,d\ncat,e\n" * 5)
        data = load(name, None)
        assert data.class_names == ("cat", "dog")
        texts = {*data.train.texts[0], *data.test.texts[0]}
        assert 'a, "b"' in texts
        assert (len(data.train), len(data.test), data.metric) == (10, 2, "accuracy")

    def test_the_test_part_is_the_same_for_all_seeds(self, tmp_path):
        rows = "".join(f"text {n},{n % 3}\n" for n in range(60))
        name = self.table(tmp_path, "text,label\n" + rows)
        one, two = (load(name, None, seed=seed, validation_fraction=0.2) for seed in (1, 2))
        assert one.test.texts[0].tolist() == two.test.texts[0].tolist()
        assert one.validation.texts[0].tolist() != two.validation.texts[0].tolist()
        parts = [set(part.texts[0]) for part in (one.train, one.validation, one.test)]
        assert set.union(*parts) == {f"text {n}" for n in range(60)}
        assert sum(map(len, parts)) == 60
        # Labels stay with their texts.
        for part in (one.train, one.validation, one.test):
            assert [int(t.split()[1]) % 3 for t in part.texts[0]] == part.labels.tolist()

    def test_numbers(self, tmp_path):
        rows = "".join(f"t{n},u{n},{n / 2}\n" for n in range(20))
        data = load(self.table(tmp_path, "a,b,label\n" + rows), None, validation_fraction=0.25)
        assert (data.is_regression, data.class_names, data.metric) == (True, (), "spearman")
        for part in (data.train, data.validation, data.test):
            assert part.labels.dtype == np.float32
            assert [float(t[1:]) / 2 for t in part.texts[0]] == part.labels.tolist()
            assert [f"u{t[1:]}" for t in part.texts[0]] == list(part.texts[1])

    def test_classes_in_the_order_of_numbers(self, tmp_path):
        rows = "".join(f"t{n},{n}\n" for n in (10, 9, 100) for _ in range(4))
        assert load(self.table(tmp_path, "t,label\n" + rows), None).class_names == (
            *("9", "10", "100"),
        )

    def test_own_test_file_and_columns(self, tmp_path):
        train = self.table(tmp_path, "id\ty\tt\n1\ta\tx\n2\tb\ty\n", "one.tsv")
        self.table(tmp_path, "t\ty\nz\tb\n", "two.tsv")
        name = f"{train},{tmp_path / 'two.tsv'}"
        data = load(name, None, label_column="y", text_columns=("t",))
        assert data.train.texts[0].tolist() == ["x", "y"]
        assert data.test.texts[0].tolist() == ["z"]
        assert data.test.labels.tolist() == [1]
        message = refused(name, None, label_column="y")
        assert "Expected a column 'id'" in message  # the second file has none

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("text,label\nx,1\nx,1\n", "at least two classes"),
            ("text,y\nx,1\n", "Expected a column 'label'"),
            ("a,b,c,label\n1,2,3,4\n", "which has 3 beside 'label'"),
            ("label\n1\n", "which has 0 beside 'label'"),
            ("", "none"),
            ("text,label\n", "which has none"),
            # A quote that isn't closed, with all other rows behind it.
            ('label,text\n1,x\n2,"y\n1,z\n2,z\n', "line 5 of which: unexpected end of data"),
            # No number among numbers, and one that is too large.
            ("text,label\nx,0.5\ny,n/a\n", "numbers as labels. Received: 'n/a' in line 3 of"),
            ("text,label\nx,0.5\ny,1e39\n", "numbers as labels. Received: '1e39' in line 3 of"),
            ("text,label\nx,0.5\ny,.5\nz,\n", "a label in each row. Received: none in line 4"),
            ("text,text,label\nx,y,1\nx,y,0\n", "'text' twice"),
            # The first column was forgotten in the last row, whose label would be the rest.
            ("id,text,label,n\n1,x,a,3\n2,y,b,3\nz,b,3\n", "4 columns. Received: 3 in line 4"),
        ],
    )
    def test_wrong_tables(self, tmp_path, text, words):
        columns = ("text",) if text.startswith("id,") else ()
        assert words in refused(self.table(tmp_path, text), text_columns=columns)

    def test_the_label_is_no_text(self, tmp_path):
        name = self.table(tmp_path, "text,label\nx,1\ny,0\n")
        assert "'label' twice" in refused(name, text_columns=("text", "label"))
        assert "'text' twice" in refused(name, text_columns=("text", "text"))

    def test_a_file_in_the_home_folder(self, tmp_path, monkeypatch):
        monkeypatch.setenv("HOME", str(tmp_path))
        self.table(tmp_path, "text,label\nx,1\ny,0\n")
        assert len(load("csv:~/my.csv", None).train) == 1
        write(tmp_path / "glue", "sst2")
        assert len(load("sst2", "~/glue").train) == 2

    def test_no_file(self, tmp_path):
        assert "which doesn't exist" in refused(f"csv:{tmp_path / 'none.csv'}")
        assert "which is a folder" in refused(f"csv:{tmp_path}")
        assert "csv:FILE or csv:TRAIN,TEST" in refused("csv:")

    def test_class_that_only_the_test_part_has(self, tmp_path):
        train = self.table(tmp_path, "t,label\nx,a\ny,b\n", "one.csv")
        self.table(tmp_path, "t,label\nz,c\n", "two.csv")
        assert "one of a, b as label. Received: 'c'" in refused(f"{train},{tmp_path}/two.csv")


class TestParts:
    def test_published_share(self, tmp_path):
        rows = [f"text {n}\t{n % 2}\n" for n in range(107)]
        write(tmp_path, "sst2", rows=rows)
        data = load("sst2", tmp_path, validation_fraction=0.15)
        assert (len(data.train), len(data.validation)) == (int(0.85 * 107), 107 - int(0.85 * 107))
        fewer = load("sst2", tmp_path, validation_fraction=0.15, train_examples=20)
        assert len(fewer.train) + len(fewer.validation) == 20

    def test_too_few(self, tmp_path):
        write(tmp_path, "sst2")
        assert "between 1 and 2" in refused("sst2", tmp_path, train_examples=3)
        sentence = "leaves at least one example for training and one for validation"
        assert sentence in refused("sst2", tmp_path, validation_fraction=0.9)
        for wrong in (-0.1, 1.0, float("nan")):
            assert "[0, 1)" in refused("sst2", tmp_path, validation_fraction=wrong)
        assert "train_examples >= 1" in refused("sst2", tmp_path, train_examples=0)
        assert "a seed between 0" in refused("sst2", tmp_path, seed=-1)

    def test_a_share_that_floating_point_numbers_miss(self, tmp_path):
        write(tmp_path, "sst2", rows=[f"text {n}\t{n % 2}\n" for n in range(10)])
        data = load("sst2", tmp_path, validation_fraction=0.9)  # 1 - 0.9 is less than 0.1
        assert (len(data.train), len(data.validation)) == (1, 9)
