/** What is generated in which file. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { SETTINGS } from '../../shared/config/config.js';
import { LOCAL_SETTINGS } from '../local/local-config.js';
import { projectRoot } from '../local/project.js';
import { conditionsTable } from './conditions.js';
import { findingsTable } from './findings.js';
import type { Parts } from './generated.js';
import { metricsTable, type Source } from './metrics.js';
import { settingsTable } from './settings.js';

function servicesSources(): Source[] {
  const names = readdirSync(join(projectRoot(), 'services'), { recursive: true, encoding: 'utf8' });
  const paths = names.filter((name) => name.endsWith('.ts')).map((name) => `services/${name}`);
  return paths.map((path) => ({ path, text: readFileSync(join(projectRoot(), path), 'utf8') }));
}

/** By path from the folder of the project. */
export const GENERATED: Readonly<Record<string, Parts>> = {
  'deploy/README.md': {
    'settings of npm start': settingsTable(LOCAL_SETTINGS),
    ...Object.fromEntries(
      Object.entries(SETTINGS).map(([part, settings]) => [`settings of ${part}`, settingsTable(settings)]),
    ),
    conditions: conditionsTable(),
    'findings of craft doctor': findingsTable(),
    metrics: metricsTable(servicesSources()),
  },
};
