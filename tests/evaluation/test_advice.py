from __future__ import annotations

from dataclasses import replace

import pytest

from limbeck.evaluation import Candidate, Verdict, advice, break_even

TEACHER = Candidate("teacher.onnx", "teacher", False, 2_721_000, 0.712, 0.710, 0.920)
QUANTISED = Candidate("teacher.int8.onnx", "teacher", True, 720_000, 0.400, 0.400, 0.918)
STUDENT = Candidate("student.onnx", "student", False, 85_000, 0.024, 0.024, 0.896)
SMALL = Candidate("student.int8.onnx", "student", True, 44_000, 0.031, 0.031, 0.894)
BEATS = Verdict("beats", 0.06, 0.05, 0.07, 0.005, 0.001, 3)


def said(*candidates: Candidate, verdict: Verdict = BEATS) -> list[str]:
    return advice(candidates, verdict, training_cpu_seconds=686.0, price_per_cpu_hour=0.05)


def test_the_smallest_and_the_fastest_student_files_are_named_with_their_numbers():
    size, speed, *_ = said(TEACHER, QUANTISED, STUDENT, SMALL)
    assert size == (
        "For size ship student.int8.onnx: 44.0 KB, 61.8 times smaller than the teacher's 2,721.0 KB, "
        "at accuracy 0.8940, 0.0020 below student.onnx (within the margin of 0.005)."
    )
    assert speed == (
        "For speed ship student.onnx: 0.024 ms a request, 29.7 times faster than the teacher's 0.712 ms, "
        "at accuracy 0.8960."
    )


def test_a_loss_beyond_the_margin_is_said():
    size = said(TEACHER, STUDENT, replace(SMALL, quality=0.85))[0]
    assert "0.0460 below student.onnx (more than the margin of 0.005)" in size


@pytest.mark.parametrize(
    ("word", "opening"),
    [("beats", "Distil:"), ("ties", "Neither:"), ("hurts", "Neither:"), ("open", "Open:")],
)
def test_the_way_follows_the_verdict(word, opening):
    assert said(TEACHER, STUDENT, verdict=replace(BEATS, word=word))[2].startswith(opening)


def test_quantising_alone_is_advised_only_where_it_is_as_small_as_fast_and_as_good():
    enough = replace(QUANTISED, bytes=40_000, p50_ms=0.02)
    assert said(TEACHER, enough, STUDENT, SMALL)[2].startswith("Only quantise:")
    for worse in (replace(enough, bytes=50_000), replace(enough, p50_ms=0.03), replace(enough, quality=0.9)):
        assert said(TEACHER, worse, STUDENT, SMALL)[2].startswith("Distil:")


def test_what_quantising_alone_would_bring_stands_beside():
    way = said(TEACHER, QUANTISED, STUDENT, SMALL)[2]
    assert "Quantising the teacher alone gives accuracy 0.9180 (teacher 0.9200)" in way
    assert "3.78 times smaller and 1.78 times faster than the teacher" in way
    assert "16.4 times larger than student.int8.onnx and 16.7 times slower than student.onnx" in way


def test_break_even_is_where_savings_meet_the_effort():
    assert break_even(686.0, teacher_cpu_ms=0.71, student_cpu_ms=0.024) == 1_000_000
    assert break_even(686.0, teacher_cpu_ms=0.02, student_cpu_ms=0.024) is None
    assert (
        "paid back after 1,000,000 requests; each further million saves 0.00953." in said(TEACHER, STUDENT)[3]
    )
    assert "never paid back" in said(replace(TEACHER, cpu_ms=0.01), STUDENT)[3]


def test_without_a_teacher_or_a_student_there_is_nothing_to_advise():
    assert said(STUDENT) == []
    assert said(TEACHER, QUANTISED) == []
