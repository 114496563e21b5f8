def test_x(finished):
    for k,r in sorted(finished.records.items()): print(k, r.scores.test, r.scores.validation, r.scores.valid_label_share, r.training.best_step)
    print(finished.outcome)
    assert 0
