# Type III tests by lmerTest where a cell is empty, as JSON.
# Usage: Rscript 31_empty_cells.R DATA OUT, where DATA holds the csv files of tests/reference/data.
# Debian 12: R 4.2.2, lme4 1.1-31, lmerTest 3.1-3.
suppressMessages(library(lmerTest))
arguments <- commandArgs(TRUE)
cake <- read.csv(file.path(arguments[1], "cake.csv"))
cake <- cake[!(cake$recipe == "A" & cake$temperature == 175), ]
cake$temperature <- factor(cake$temperature, ordered = TRUE)
cake$recipe <- factor(cake$recipe)
cake$replicate <- factor(cake$replicate)
fit <- suppressMessages(lmer(angle ~ recipe * temperature + (1 | recipe:replicate), cake))
table <- suppressMessages(anova(fit, type = 3))
rows <- sprintf("\"%s\": {\"num_df\": %d, \"den_df\": %.17g, \"statistic\": %.17g, \"p_value\": %.17g}",
                rownames(table), as.integer(table$NumDF), table$DenDF, table$`F value`, table$`Pr(>F)`)
writeLines(paste0("{", paste(rows, collapse = ",\n "), "}"), arguments[2])
