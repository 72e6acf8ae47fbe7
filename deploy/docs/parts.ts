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

/** Where services open metrics. */
function servicesSources(): Source[] {
  const paths = ['services', 'shared/telemetry'].flatMap((folder) => {
    const names = readdirSync(join(projectRoot(), folder), { recursive: true, encoding: 'utf8' });
    return names.filter((name) => name.endsWith('.ts')).map((name) => `${folder}/${name}`);
  });
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
