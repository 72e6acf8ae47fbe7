export interface Report {
  readonly numPassedTests: number;
  readonly testResults: readonly {
    readonly name: string;
    readonly status: string;
    readonly assertionResults: readonly { readonly fullName: string; readonly status: string }[];
  }[];
}

export interface Summary {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
  readonly files: string[];
  readonly names: string[];
}

export function summarize(report: Report): Summary;
export function afterSecondTry(first: Summary, second: Report): Omit<Summary, 'files'> & { readonly flaky: string[] };
