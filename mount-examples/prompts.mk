# A Makefile whose targets are prompts: a file is asked for when it is missing or older than what
# it is made of, and only a whole answer becomes one. -j2 keeps both sessions at work:
#   make -j2 -f prompts.mk release.md
ask := $(dir $(lastword $(MAKEFILE_LIST)))ask.sh
first = claude-1
second = claude-2
session = $(first)
# The words, and below them all that the target is made of.
prompt = { printf '%s\n\n' "$$words"; cat $^; } | $(ask) $(session) > $@.$$$$ \
  && mv $@.$$$$ $@ || { rm -f $@.$$$$; exit 1; }

release.md: export words = Write release notes of two paragraphs, from this review and this summary.
release.md: review.md summary.md
	$(prompt)

review.md: export words = Review this change: bugs alone, the worst one first.
review.md: change.diff
	$(prompt)

summary.md: export words = What does this change do for its users? Five lines.
summary.md: session = $(second)
summary.md: change.diff
	$(prompt)

# Written only where the change is another one, so that nothing is asked twice.
change.diff: FORCE
	git diff HEAD > $@.$$$$; cmp -s $@.$$$$ $@ || cp $@.$$$$ $@; rm $@.$$$$
FORCE:
