# Marginal means by other weights, and marginal slopes, by emmeans, as JSON.
# Usage: Rscript 33_emmeans_weights_and_trends.R DATA OUT, where DATA holds the csv files of tests/reference/data.
# emmeans takes forward differences, of a step that is made short here.
# Debian 12: R 4.2.2, lme4 1.1-31, emmeans 1.8.4, jsonlite 1.8.4. Degrees of freedom by lmerTest.
suppressMessages({library(lmerTest); library(emmeans); library(jsonlite)})
arguments <- commandArgs(TRUE)
cake <- read.csv(file.path(arguments[1], "cake.csv"))
cake$recipe <- factor(cake$recipe); cake$replicate <- factor(cake$replicate); cake$temperature <- factor(cake$temperature)
cake$part <- factor(ifelse((cake$temp + as.integer(cake$replicate)) %% 4 == 0, "a", "b"))
keep <- !(cake$recipe == "B" & as.integer(cake$replicate) > 9) & !(cake$temp > 205 & as.integer(cake$replicate) %% 3 == 0)
cake <- cake[keep, ]
control <- lmerControl(optimizer = "bobyqa", optCtrl = list(rhoend = 1e-10, maxfun = 1e5))
fit <- lmer(angle ~ recipe * temperature + part + (1 | recipe:replicate), cake, control = control)
slope <- lmer(angle ~ recipe * poly(temp, 2) + part + (1 | recipe:replicate), cake, control = control)
emm_options(lmer.df = "satterthwaite")
columns <- function(table, names) { table <- as.data.frame(summary(table)); names(table) <- sub(".*\\.trend$|^emmean$", "estimate", names(table)); table[, names] }
means <- lapply(c(equal = "equal", proportional = "proportional", outer = "outer", cells = "cells"), function(w)
  columns(emmeans(fit, "recipe", weights = w), c("recipe", "estimate", "SE", "df")))
trends <- list(
  recipe = columns(emtrends(slope, "recipe", var = "temp", delta.var = 1e-5), c("recipe", "estimate", "SE", "df")),
  at = columns(emtrends(slope, "recipe", var = "temp", delta.var = 1e-5, at = list(temp = 180)), c("recipe", "estimate", "SE", "df")),
  pairs = as.data.frame(summary(pairs(emtrends(slope, "recipe", var = "temp", delta.var = 1e-5), adjust = "none"))),
  all = columns(emtrends(slope, ~ 1, var = "temp", delta.var = 1e-5, weights = "proportional"), c("estimate", "SE", "df")))
write_json(list(rows = which(keep) - 1, part = as.character(cake$part), means = means, trends = trends), arguments[2], digits = NA, auto_unbox = TRUE)
