"""One configuration: defaults, then an experiment's YAML, then the command line."""

from pathlib import Path

import pytest
import yaml

from models.registry import ARCHITECTURES
from training.config import as_dict, differences, dump, experiment_names, load_experiment, parse
from training.settings import Config

MINIMAL = {"experiment": "x", "title": "x", "model": {"architecture": "gru-encoder"}}


@pytest.mark.parametrize("name", experiment_names())
def test_every_experiment_reads_and_survives_a_round_trip(name: str) -> None:
    config = load_experiment(name)
    assert config.experiment == name
    assert config.model.architecture in {*ARCHITECTURES, "tfidf"}
    assert parse(yaml.safe_load(dump(config))) == config


def test_the_reference_settings_are_those_of_the_assignment() -> None:
    for name in experiment_names():
        config = load_experiment(name)
        if config.variant == "reference":
            train = config.train
            assert (train.learning_rate, train.adam_epsilon) == (1e-5, 1e-8)
            assert (train.batch_size, train.epochs, train.padding) == (512, 1, "max")
            assert (config.data.max_length, config.data.text) == (256, "title")
            assert not train.bucketed
            recurrent = config.model.architecture.startswith("gru")
            assert config.model.arguments.get("reads_padding", False) == recurrent
            assert config.model.arguments["dropout"] == 0.3


def test_all_six_experiments_have_a_reference_and_a_recommended_variant() -> None:
    configs = [load_experiment(name) for name in experiment_names()]
    for variant in ("reference", "recommended"):
        numbers = [c.number for c in configs if c.variant == variant]
        assert sorted(filter(None, numbers)) == [1, 2, 3, 4, 5, 6, 6]


def test_an_extending_file_changes_only_what_it_names() -> None:
    shallow, deep = load_experiment("3-transformer"), load_experiment("4-transformer-deep")
    changed = {line.split(":")[0] for line in differences(shallow, deep)}
    assert changed == {"experiment", "title", "number", "model.arguments.num_layers"}


def test_the_command_line_wins_over_the_file() -> None:
    given = ["train.batch_size=7", "data.sources=[a.csv, b.csv]"]
    given += ["train.learning_rate=2e-3", "model.arguments.pooling=mean"]
    config = load_experiment("demo", given)
    assert config.train.batch_size == 7
    assert config.data.sources == ["a.csv", "b.csv"]
    assert config.train.learning_rate == 2e-3
    assert config.model.arguments["pooling"] == "mean"
    untouched = load_experiment("demo").model.arguments["hidden_size"]
    assert config.model.arguments["hidden_size"] == untouched


def test_a_yaml_file_of_ones_own_may_extend_an_experiment(tmp_path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("extends: demo\ntrain: {epochs: 9}\n")
    config = load_experiment(str(path))
    assert (config.experiment, config.train.epochs) == ("mine", 9)
    assert config.train.batch_size == load_experiment("demo").train.batch_size


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.batchsize=3", "did you mean train.batch_size"),
        ("train.batch_size=0", "train.batch_size: Input should be greater than or equal to 1"),
        ("train.batch_size=many", "train.batch_size: .*integer.*'many'"),
        ("train.padding=left", "train.padding: Input should be 'longest' or 'max'"),
        ("train.padding", "expected key=value"),
        ("title.x=1", "'title' is a value"),
        ("data.text=headline", "data.text: Input should be 'title"),
        ("bogus=1", "unknown key 'bogus'"),
        ("data.sources=[a.csv", "not YAML"),
        ("train.learning_rate=.inf", "finite number"),
        ("train.adam_betas=[true, 0.9]", r"train.adam_betas: .*a number \(given: \[True, 0.9\]\)"),
        ("train.learning_rate=true", r"train.learning_rate: .*a number \(given: True\)"),
    ],
)
def test_a_setting_that_does_not_fit_is_named_with_what_is_allowed(
    override: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        load_experiment("demo", [override])
    assert "\n" not in str(caught.value)


def test_precision_no_is_a_word_and_not_false() -> None:
    assert load_experiment("demo", ["train.mixed_precision=no"]).train.mixed_precision == "no"


def test_bert_has_its_own_tokenizer_unless_told_otherwise() -> None:
    own = load_experiment("6-bert-frozen", ["model.arguments.backbone=./minilm"])
    assert own.data.tokenizer == "./minilm"
    told = load_experiment("6-bert-frozen", ["data.tokenizer=./other"])
    assert told.data.tokenizer == "./other"


def test_a_backbone_without_files_has_no_tokenizer_and_says_so() -> None:
    with pytest.raises(ValueError, match=r"data\.tokenizer: the backbone is a configuration"):
        load_experiment("6-bert-finetuned", ["model.arguments.backbone={model_type: bert}"])
    assert load_experiment("6-bert-frozen", ["model.arguments.backbone=12"]).data.tokenizer is None


def test_a_file_that_extends_itself_is_said(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("extends: b.yaml\n")
    (tmp_path / "b.yaml").write_text("extends: a.yaml\n")
    with pytest.raises(ValueError, match=r"a\.yaml: extends itself \(.*b\.yaml -> .*a\.yaml\)"):
        load_experiment(str(tmp_path / "a.yaml"))
    (tmp_path / "c.yaml").write_text("extends: 3\n")
    with pytest.raises(ValueError, match=r"c\.yaml: extends: got 3; give a name"):
        load_experiment(str(tmp_path / "c.yaml"))


def test_an_unknown_experiment_names_the_closest() -> None:
    with pytest.raises(ValueError, match="did you mean 3-transformer"):
        load_experiment("3-transformr")


def test_differences_name_the_dotted_key() -> None:
    left: Config = parse(MINIMAL)
    right = parse(MINIMAL | {"train": {"epochs": 2}})
    assert differences(left, right) == ["train.epochs: 1 -> 2"]
    assert as_dict(left)["train"]["epochs"] == 1


def test_a_file_extends_another_one_beside_it(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("extends: 1-gru\ntrain: {epochs: 7}\n")
    (tmp_path / "mine.yaml").write_text("extends: base.yaml\ntrain: {batch_size: 8}\n")
    config = load_experiment(str(tmp_path / "mine.yaml"))
    assert (config.train.epochs, config.train.batch_size) == (7, 8)
    assert config.model.architecture == "gru-encoder"


@pytest.mark.parametrize("raw", [None, "words", ["a", "list"]])
def test_what_is_no_mapping_is_said(raw: object) -> None:
    with pytest.raises(ValueError, match="wanted is a mapping of settings"):
        parse(raw)  # type: ignore[arg-type]


def test_a_run_older_than_a_removed_setting_reads_where_it_was_off() -> None:
    assert parse(MINIMAL | {"train": {"r_drop": 0.0, "epochs": 3}}).train.epochs == 3
    with pytest.raises(ValueError, match=r"unknown key 'train.r_drop'"):
        parse(MINIMAL | {"train": {"r_drop": 1.0}})
